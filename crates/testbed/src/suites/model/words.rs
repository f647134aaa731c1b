// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the model's objects are called on a real machine, and what it says about them.

use luo_guest::{
    pattern::Content,
    proto::{Entry, MemfdSpec, Op as GuestOp, Pages, Place},
};
use luo_model::{
    Callback, Direction, Errno, File, FileState, Handler, Name, Outcome, Session, SessionState,
    SessionView, Token,
};

use crate::scenario::{Expect, steps::raw_ioctl};

/// The files of the test handler that make callbacks refuse, and what they hold when none does.
pub(super) const ANSWERS: [(&str, &str); 5] = [
    ("fail_preserve", "0"),
    ("fail_retrieve", "0"),
    ("can_finish", "Y"),
    ("fail_flb_preserve", "0"),
    ("fail_flb_retrieve", "0"),
];

pub(super) fn answer(callback: Callback) -> (&'static str, &'static str) {
    match callback {
        Callback::Preserve(_) => ("fail_preserve", "33"),
        Callback::Freeze(_) | Callback::Carry(_) => panic!("{callback:?} is not refused here"),
        Callback::Retrieve(_) => ("fail_retrieve", "33"),
        Callback::CanFinish(_) => ("can_finish", "N"),
        Callback::FlbPreserve(_) => ("fail_flb_preserve", "33"),
        Callback::FlbRetrieve(_) => ("fail_flb_retrieve", "33"),
    }
}

pub(super) fn raw(slot: &str, number: u32, argument: Vec<u8>) -> GuestOp {
    raw_ioctl(slot, number, Place::ReadOnly, argument, Entry::Native)
}

pub(super) fn expect(outcome: Outcome) -> Expect {
    match outcome {
        Ok(_) => Expect::Success,
        Err(Errno(errno)) => Expect::Errno(errno),
    }
}

pub(super) fn text(name: Name) -> String {
    format!("session-{}", name.0)
}

pub(super) fn slot(Session { direction, name }: Session) -> String {
    format!("{direction:?} {}", text(name))
}

pub(super) fn file_slot(file: File) -> String {
    format!("file {}", file.0)
}

pub(super) fn memfd(number: u64, size: u64) -> MemfdSpec {
    MemfdSpec {
        content: Content::full(number, size),
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    }
}

/// How `fdinfo` ends. `open` are the files that are open, with the handler and the size of each.
pub(super) fn shown(
    session: Session,
    view: &SessionView,
    open: impl Iterator<Item = (Token, (Handler, u64))>,
) -> String {
    let direction = match session.direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    };
    let state = match view.state {
        SessionState::Open => "open",
        SessionState::HandedOver => "handed over",
        SessionState::Retrieved => "retrieved",
        SessionState::Finished => "finished",
    };
    let name = text(session.name);
    let mut shown =
        format!("luo-session:\t{name}\nluo-direction:\t{direction}\nluo-state:\t{state}\n");
    for (token, handler, state) in &view.files {
        let compatible = match handler {
            Handler(0) => "memfd-v2",
            Handler(_) => "luo-probe-v1",
        };
        let state = match state {
            FileState::Preserved => "preserved",
            FileState::HandedOver => "handed over",
            FileState::Waiting => "waiting",
            FileState::Failed => "failed",
            FileState::Restored => "restored",
            FileState::Retrieved => "retrieved",
        };
        shown.push_str(&format!("luo-file:\t{:#x} {compatible} {state}\n", token.0));
    }
    for (token, (handler, size)) in open {
        // The test handler's files are devices, which have no size.
        let size = if handler == Handler(0) { size } else { 0 };
        shown.push_str(&format!("luo-size:\t{:#x} {size}\n", token.0));
    }
    shown
}
