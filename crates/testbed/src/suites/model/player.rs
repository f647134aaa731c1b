// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From the model's operations to the scenario's actions.

use std::collections::{BTreeMap, BTreeSet};

use luo_guest::proto::{LoadMethod, Op as GuestOp};
use luo_model::{
    Answer, Direction, Errno, File, Flb, Handler, Image, Modules, Name, Op, Oracle, Process,
    Session,
};

use super::{
    super::defects_probe::set,
    calls::DEVICE,
    words::{ANSWERS, answer, expect, file_slot, shown, slot, text},
};
use crate::scenario::{Action, Expect, Flavor, Hop, steps::does};

/// Runs the oracle and writes down what it says. What processes have is known here, too, as programs know it.
pub(super) struct Player {
    oracle: Oracle,
    pub(super) device: Option<Process>,
    pub(super) sessions: BTreeMap<Session, Process>,
    pub(super) files: BTreeSet<(Process, File)>,
    /// Handler and size of each file that was made; all kernels together.
    pub(super) made: Vec<(Handler, u64)>,
    /// How often the FLB is borrowed, by direction.
    borrowed: BTreeMap<Direction, u32>,
    pub(super) nr_kexecs: u32,
    /// How many files went through a kernel that did not retrieve them.
    pub(super) nr_files_passed_on: usize,
    pub(super) actions: Vec<Action>,
}

impl Player {
    pub(super) fn power_on() -> Self {
        Self {
            oracle: Oracle::power_on(Modules::All),
            device: None,
            sessions: BTreeMap::new(),
            files: BTreeSet::new(),
            made: Vec::new(),
            borrowed: BTreeMap::new(),
            nr_kexecs: 0,
            nr_files_passed_on: 0,
            actions: Vec::new(),
        }
    }

    /// Does an operation, checks what each of its steps gives, and at the end everything that can be seen then.
    pub(super) fn play(&mut self, op: Op) {
        match op {
            Op::Kexec { image, .. } => self.kexec(image),
            op => op.steps().into_iter().for_each(|step| self.step(step)),
        }
        for (session, view) in self.oracle.view().sessions {
            let slot = slot(session);
            let open = self.oracle.open_files(session).into_iter();
            let sizes = open.map(|(token, number)| (token, self.made[number as usize]));
            let shown = Expect::Ending(shown(session, &view, sizes));
            let process = self.sessions[&session];
            self.push_in(process, GuestOp::FdInfo { slot }, shown);
        }
    }

    /// Whether a kexec would be refused now.
    pub(super) fn is_refused(&self, image: Image) -> bool {
        self.oracle.clone().apply(Op::HandOver { image }).is_err()
    }

    fn step(&mut self, step: Op) {
        if !self.is_possible(step) {
            return;
        }
        let outcome = self.oracle.apply(step);
        match step {
            Op::OpenDevice { process } => {
                self.open(process, DEVICE, outcome);
                if outcome.is_ok() {
                    self.device = Some(process);
                }
            }
            Op::CloseDevice { process } => {
                self.device = None;
                self.close(process, DEVICE.into());
            }
            Op::MakeFile {
                process,
                file,
                handler,
            } => self.make_file(process, file, handler),
            Op::CloseFile { process, file } => {
                self.files.remove(&(process, file));
                self.close(process, file_slot(file));
            }
            Op::Create {
                process,
                name,
                obstacle,
            } => self.call_device(Direction::Outgoing, process, name, obstacle, outcome),
            Op::Retrieve {
                process,
                name,
                obstacle,
            } => self.call_device(Direction::Incoming, process, name, obstacle, outcome),
            Op::Preserve { name, file, token } => self.preserve(name, file, token, outcome),
            Op::RetrieveFile {
                name,
                token,
                into,
                obstacle,
            } => self.retrieve_file(name, token, into, obstacle, outcome),
            Op::Finish { name } => {
                let (process, session) = self.held(Direction::Incoming, name);
                self.push_in(process, GuestOp::Finish { session }, expect(outcome));
            }
            Op::GetName { session } => {
                let process = self.sessions[&session];
                let get = GuestOp::GetName {
                    session: slot(session),
                };
                self.push_in(process, get, Expect::Ending(text(session.name)));
            }
            Op::Misdirect { session } => self.misdirect(session, outcome),
            Op::Close { session } => {
                if let Some(process) = self.sessions.remove(&session) {
                    self.close(process, slot(session));
                }
            }
            Op::Crash { process } => {
                self.device.take_if(|it| *it == process);
                self.sessions.retain(|_, it| *it != process);
                self.files.retain(|(it, _)| *it != process);
                let Process(process) = process;
                self.actions.push(does(GuestOp::Crash { process }));
            }
            Op::Refuse { callback } => {
                let (answer, value) = answer(callback);
                self.actions.push(set(answer, value));
            }
            Op::Relent => ANSWERS
                .iter()
                .for_each(|(answer, relenting)| self.actions.push(set(answer, relenting))),
            Op::Borrow { direction, .. } => {
                *self.borrowed.entry(direction).or_default() += u32::from(outcome.is_ok());
                self.hold(direction, "1", outcome);
            }
            Op::GiveBack { direction, .. } => {
                *self.borrowed.entry(direction).or_default() -= 1;
                self.hold(direction, "0", outcome);
            }
            other => panic!("{other:?} is not offered"),
        }
    }

    /// Whether the caller has what the call needs; without it there is nothing to call, or the kernel would be misused.
    fn is_possible(&self, step: Op) -> bool {
        let is_held = |direction, name| self.sessions.contains_key(&Session { direction, name });
        match step {
            Op::CloseDevice { process } => self.device == Some(process),
            Op::CloseFile { process, file } => self.files.contains(&(process, file)),
            Op::Preserve { name, .. } => is_held(Direction::Outgoing, name),
            Op::RetrieveFile { name, .. } | Op::Finish { name } => {
                is_held(Direction::Incoming, name)
            }
            Op::GetName { session } | Op::Misdirect { session } | Op::Close { session } => {
                self.sessions.contains_key(&session)
            }
            Op::GiveBack { direction, .. } => {
                self.borrowed.get(&direction).is_some_and(|it| *it > 0)
            }
            _ => true,
        }
    }

    fn kexec(&mut self, image: Image) {
        let method = match image {
            Image::WithHandover => LoadMethod::File,
            Image::WithoutHandover => LoadMethod::Legacy,
        };
        let hop = Hop {
            method,
            ..Hop::to(Flavor::Rust)
        };
        match self.oracle.apply(Op::HandOver { image }) {
            Err(Errno(errno)) => self.actions.push(Action::KexecRefused(hop, errno)),
            Ok(_) => {
                self.nr_files_passed_on += self.oracle.nr_files_passed_on();
                let modules = Modules::All;
                let jumped = self.oracle.apply(Op::Jump { modules });
                assert_eq!(jumped, Ok(Answer::Done));
                // The FLBs of Linux's own test module, which all handlers have, ask for their objects at boot.
                let _ = self.oracle.apply(Op::Borrow {
                    direction: Direction::Incoming,
                    flb: Flb(0),
                });
                self.actions.push(Action::Kexec(hop));
                self.device = None;
                self.sessions.clear();
                self.files.clear();
                self.borrowed.clear();
                self.nr_kexecs += 1;
            }
        }
    }

    /// Who has a session, and in which slot.
    pub(super) fn held(&self, direction: Direction, name: Name) -> (Process, String) {
        let session = Session { direction, name };
        (self.sessions[&session], slot(session))
    }

    pub(super) fn push_in(&mut self, Process(process): Process, op: GuestOp, expect: Expect) {
        let op = Box::new(op);
        self.actions
            .push(Action::Do(GuestOp::In { process, op }, expect));
    }
}
