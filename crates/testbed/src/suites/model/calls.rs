// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The calls of programs, as operations of the machine's agent.

use liveupdate::uapi;
use luo_guest::proto::{Entry, Op as GuestOp, Place};
use luo_model::{
    Answer, Direction, File, Handler, Name, Obstacle, Outcome, Process, Session, Token,
};

use super::{
    super::{
        defects_probe::set,
        interface::{named_argument, token_argument, words},
    },
    player::Player,
    words::{expect, file_slot, memfd, raw, slot, text},
};
use crate::scenario::{Action, Expect, steps::raw_ioctl};

/// The device, opened for longer.
pub(super) const DEVICE: &str = "device";
/// The device, opened for one call.
const ONCE: &str = "once";
/// Every process's limit of descriptors but for calls that must not get one.
const MANY: u64 = 1000;
/// No descriptor.
const NO_FD: i32 = -1;
const PAGE: u64 = 4096;

impl Player {
    pub(super) fn open(&mut self, process: Process, slot: &str, outcome: Outcome) {
        let slot = slot.into();
        self.push_in(process, GuestOp::OpenDevice { slot }, expect(outcome));
    }

    pub(super) fn close(&mut self, process: Process, slot: String) {
        self.push_in(process, GuestOp::Close { slot }, Expect::Success);
    }

    pub(super) fn make_file(&mut self, process: Process, file: File, handler: Handler) {
        let number = self.made.len() as u64;
        // Not whole pages, so that the size counts, too.
        let size = file.nr_pages() as u64 * PAGE - 1;
        self.made.push((handler, size));
        self.files.insert((process, file));
        let slot = file_slot(file);
        if handler == Handler(0) {
            let spec = memfd(number, size);
            self.push_in(
                process,
                GuestOp::MemfdCreate { slot, spec },
                Expect::Success,
            );
        } else {
            let path = "/dev/luo_probe".into();
            let bytes = number.to_le_bytes().to_vec();
            let open = GuestOp::OpenFile {
                slot: slot.clone(),
                path,
            };
            self.push_in(process, open, Expect::Success);
            self.push_in(process, GuestOp::WriteSlot { slot, bytes }, Expect::Success);
        }
    }

    pub(super) fn call_device(
        &mut self,
        direction: Direction,
        process: Process,
        name: Name,
        obstacle: Obstacle,
        outcome: Outcome,
    ) {
        let has_device = self.device == Some(process);
        if !has_device && self.device.is_some() {
            return self.open(process, ONCE, outcome);
        }
        let device = if has_device { DEVICE } else { ONCE };
        if !has_device {
            self.open(process, ONCE, Ok(Answer::Done));
        }
        let session = Session { direction, name };
        let (slot, of) = (slot(session), device.to_owned());
        let (number, call) = match direction {
            Direction::Outgoing => (
                uapi::CREATE_SESSION,
                GuestOp::CreateSession {
                    device: of,
                    name: text(name),
                    slot,
                },
            ),
            Direction::Incoming => (
                uapi::RETRIEVE_SESSION,
                GuestOp::RetrieveSession {
                    device: of,
                    name: text(name),
                    slot,
                },
            ),
        };
        let raw = raw(device, number, named_argument(72, text(name).as_bytes()));
        self.call_for_fd(process, obstacle, call, raw, outcome);
        if outcome.is_ok() {
            self.sessions.insert(session, process);
        }
        if !has_device {
            self.close(process, ONCE.into());
        }
    }

    /// Makes a call that gives a descriptor; `raw` is the same with an argument that cannot be written.
    pub(super) fn call_for_fd(
        &mut self,
        process: Process,
        obstacle: Obstacle,
        call: GuestOp,
        raw: GuestOp,
        outcome: Outcome,
    ) {
        match obstacle {
            Obstacle::None => self.push_in(process, call, expect(outcome)),
            Obstacle::Unwritable => self.push_in(process, raw, expect(outcome)),
            Obstacle::NoDescriptor => {
                let limit = |most| GuestOp::LimitDescriptors { most };
                self.push_in(process, limit(0), Expect::Success);
                self.push_in(process, call, expect(outcome));
                self.push_in(process, limit(MANY), Expect::Success);
            }
        }
    }

    pub(super) fn preserve(&mut self, name: Name, file: File, token: Token, outcome: Outcome) {
        let (process, session) = self.held(Direction::Outgoing, name);
        let call = if self.files.contains(&(process, file)) {
            GuestOp::Preserve {
                session,
                token: token.0,
                file: file_slot(file),
            }
        } else {
            let argument = token_argument(16, NO_FD, token.0);
            raw_ioctl(
                &session,
                uapi::PRESERVE_FD,
                Place::Normal,
                argument,
                Entry::Native,
            )
        };
        self.push_in(process, call, expect(outcome));
    }

    pub(super) fn retrieve_file(
        &mut self,
        name: Name,
        token: Token,
        into: File,
        obstacle: Obstacle,
        outcome: Outcome,
    ) {
        let (process, session) = self.held(Direction::Incoming, name);
        let slot = file_slot(into);
        let raw = raw(
            &session,
            uapi::RETRIEVE_FD,
            token_argument(16, NO_FD, token.0),
        );
        let call = GuestOp::Retrieve {
            session,
            token: token.0,
            file: slot.clone(),
        };
        self.call_for_fd(process, obstacle, call, raw, outcome);
        let Ok(Answer::Contents(number)) = outcome else {
            return;
        };
        self.files.insert((process, into));
        let (handler, size) = self.made[number as usize];
        let number = number.into();
        if handler == Handler(0) {
            let spec = memfd(number, size);
            self.push_in(
                process,
                GuestOp::MemfdVerify { slot, spec },
                Expect::Success,
            );
        } else {
            let bytes = number.to_le_bytes().to_vec();
            let len = bytes.len();
            self.push_in(
                process,
                GuestOp::ReadSlot { slot, len },
                Expect::Bytes(bytes),
            );
        }
    }

    pub(super) fn misdirect(&mut self, session: Session, outcome: Outcome) {
        let process = self.sessions[&session];
        let calls = match session.direction {
            Direction::Outgoing => vec![
                (uapi::RETRIEVE_FD, token_argument(16, NO_FD, 0)),
                (uapi::FINISH, words(8, 0)),
            ],
            Direction::Incoming => vec![(uapi::PRESERVE_FD, token_argument(16, NO_FD, 0))],
        };
        for (number, argument) in calls {
            let call = raw_ioctl(
                &slot(session),
                number,
                Place::Normal,
                argument,
                Entry::Native,
            );
            self.push_in(process, call, expect(outcome));
        }
    }

    pub(super) fn hold(&mut self, direction: Direction, value: &str, outcome: Outcome) {
        let action = match direction {
            Direction::Outgoing => set("hold_outgoing", value),
            Direction::Incoming => set("hold_incoming", value),
        };
        if let Action::Do(op, _) = action {
            self.actions.push(Action::Do(op, expect(outcome)));
        }
    }
}
