// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Short names for the usual actions. A session's slot has the session's name; the device's slot is `device`.

use luo_guest::{
    pattern::Content,
    proto::{Buffer, Entry, MemfdSpec, Op, Pages, Place},
};

use super::{Action, Expect, Flavor, Hop};

const DEVICE: &str = "device";
const PROGRAM_TIMEOUT_MS: u64 = 120_000;

/// Makes an operation that has to succeed.
pub fn does(op: Op) -> Action {
    Action::Do(op, Expect::Success)
}

/// The action, but it has to fail with this errno.
#[must_use]
pub fn fails(action: Action, errno: i32) -> Action {
    match action {
        Action::Do(op, _) => Action::Do(op, Expect::Errno(errno)),
        Action::Kexec(hop) => Action::KexecRefused(hop, errno),
        other => other,
    }
}

/// The action tells ours from C's; C's failure has the symptom in it.
pub fn judge(action: Action, symptom: &'static str) -> Action {
    Action::Judge {
        action: Box::new(action),
        symptom,
    }
}

/// Opens the device.
pub fn open() -> Action {
    does(Op::OpenDevice {
        slot: DEVICE.into(),
    })
}

/// Closes the device.
pub fn close_device() -> Action {
    close(DEVICE)
}

/// `CREATE_SESSION`.
pub fn create(name: &str) -> Action {
    does(Op::CreateSession {
        device: DEVICE.into(),
        name: name.into(),
        slot: name.into(),
    })
}

/// `RETRIEVE_SESSION`.
pub fn retrieve(name: &str) -> Action {
    does(Op::RetrieveSession {
        device: DEVICE.into(),
        name: name.into(),
        slot: name.into(),
    })
}

/// `PRESERVE_FD`.
pub fn preserve(session: &str, token: u64, file: &str) -> Action {
    does(Op::Preserve {
        session: session.into(),
        token,
        file: file.into(),
    })
}

/// `RETRIEVE_FD`.
pub fn fetch(session: &str, token: u64, file: &str) -> Action {
    does(Op::Retrieve {
        session: session.into(),
        token,
        file: file.into(),
    })
}

/// `FINISH`.
pub fn finish(session: &str) -> Action {
    does(Op::Finish {
        session: session.into(),
    })
}

/// Closes a slot.
pub fn close(slot: &str) -> Action {
    does(Op::Close { slot: slot.into() })
}

/// `GET_NAME` gives this name.
pub fn named(session: &str, name: &'static str) -> Action {
    Action::Do(
        Op::GetName {
            session: session.into(),
        },
        Expect::Exactly(name),
    )
}

/// Makes a memfd.
pub fn memfd(slot: &str, spec: &MemfdSpec) -> Action {
    does(Op::MemfdCreate {
        slot: slot.into(),
        spec: spec.clone(),
    })
}

/// Compares a memfd with what it was made like.
pub fn verify(slot: &str, spec: &MemfdSpec) -> Action {
    does(Op::MemfdVerify {
        slot: slot.into(),
        spec: spec.clone(),
    })
}

/// Goes into a kernel.
pub fn kexec(into: Flavor) -> Action {
    Action::Kexec(Hop::to(into))
}

/// Runs a program that has to exit with 0 and print these parts.
pub fn program(argv: &[&str], prints: Vec<&'static str>) -> Action {
    let argv = argv.iter().map(|&word| word.into()).collect();
    Action::Do(
        Op::Exec {
            argv,
            env: Vec::new(),
            timeout_ms: PROGRAM_TIMEOUT_MS,
        },
        Expect::Passed(prints),
    )
}

/// A raw ioctl on a slot.
pub fn ioctl(slot: &str, number: u32, place: Place, bytes: Vec<u8>) -> Action {
    does(raw_ioctl(slot, number, place, bytes, Entry::Native))
}

/// A raw ioctl as an operation, for lists in forked processes.
pub fn raw_ioctl(slot: &str, number: u32, place: Place, bytes: Vec<u8>, entry: Entry) -> Op {
    Op::Ioctl {
        slot: slot.into(),
        number,
        buffer: Buffer { place, bytes },
        entry,
    }
}

/// A memfd of this size, written completely, of small pages.
pub fn full(seed: u64, size: u64) -> MemfdSpec {
    MemfdSpec {
        content: Content::full(seed, size),
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    }
}
