// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine as the interface describes it: what every operation gives, and what can be seen then.

mod flb;
mod incoming;
mod outgoing;
mod view;

use crate::{
    Answer, Callback, Direction, Errno, File, Flb, Handler, Image, Modules, Obstacle, Op, Outcome,
    Process, Session,
};
use flb::FlbLife;
use incoming::Incoming;
use outgoing::Outgoing;
use std::collections::{BTreeMap, BTreeSet};

/// A file that a handler takes care of. Within one kernel its number stands for one open file.
#[derive(Clone, Copy, Debug)]
struct Memfd {
    number: u32,
    handler: Handler,
    nr_pages: usize,
}

/// What is known about a machine.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// Whether the previous kernel handed something over to this one.
    is_live_updated: bool,
    /// Set once the sessions are the next kernel's, with the image it is started from.
    handed_over: Option<Image>,
    /// Who has the device open.
    device: Option<Process>,
    /// In the order of creation.
    outgoing: Vec<Outgoing>,
    /// In the order of creation, in the previous kernel. One that is finished stays until its descriptor is closed.
    incoming: Vec<Incoming>,
    /// How many sessions the previous kernel wrote down, until somebody opens the device or asks for a kexec.
    nr_unread: usize,
    flbs: [FlbLife; 2],
    descriptors: BTreeMap<(Process, File), Memfd>,
    loaded: BTreeSet<Handler>,
    refusing: BTreeSet<Callback>,
    /// Pages of files that could not be retrieved and are finished.
    nr_lost_pages: usize,
    nr_made: u32,
}

impl Oracle {
    /// A machine that was powered on, with these modules.
    #[must_use]
    pub fn power_on(modules: Modules) -> Self {
        Self {
            is_live_updated: false,
            handed_over: None,
            device: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            nr_unread: 0,
            flbs: [FlbLife::default(); 2],
            descriptors: BTreeMap::new(),
            loaded: Handler::ALL
                .into_iter()
                .filter(|it| modules.contain(*it))
                .collect(),
            refusing: BTreeSet::new(),
            nr_lost_pages: 0,
            nr_made: 0,
        }
    }

    /// Does what `op` does; `op` is one of its own [`steps`](Op::steps).
    ///
    /// # Panics
    ///
    /// If `op` consists of others.
    pub fn apply(&mut self, op: Op) -> Outcome {
        match op {
            Op::OpenDevice { process } => self.open_device(process),
            Op::CloseDevice { process } => {
                self.device
                    .take_if(|it| *it == process)
                    .ok_or(Errno::EBADF)?;
                Ok(Answer::Done)
            }
            Op::MakeFile {
                process,
                file,
                handler,
            } => {
                let (number, nr_pages) = (self.nr_made, file.nr_pages());
                self.nr_made += 1;
                self.descriptors.insert(
                    (process, file),
                    Memfd {
                        number,
                        handler,
                        nr_pages,
                    },
                );
                Ok(Answer::Done)
            }
            Op::CloseFile { process, file } => {
                self.descriptors
                    .remove(&(process, file))
                    .ok_or(Errno::EBADF)?;
                Ok(Answer::Done)
            }
            Op::Create {
                process,
                name,
                obstacle,
            } => self.create(process, name, obstacle),
            Op::Preserve { name, file, token } => self.preserve(name, file, token),
            Op::Retrieve {
                process,
                name,
                obstacle,
            } => self.retrieve(process, name, obstacle),
            Op::RetrieveFile {
                name,
                token,
                into,
                obstacle,
            } => self.retrieve_file(name, token, into, obstacle),
            Op::Finish { name } => self.finish(name),
            Op::GetName { session } => {
                self.holder(session)?;
                Ok(Answer::Name(session.name))
            }
            Op::Misdirect { session } => {
                self.holder(session)?;
                Err(Errno::EINVAL)
            }
            Op::Close { session } => self.close(session),
            Op::Crash { process } => self.crash(process),
            Op::Load { handler } => {
                let is_new = self.loaded.insert(handler);
                is_new.then_some(Answer::Done).ok_or(Errno::EEXIST)
            }
            Op::Unload { handler } => self.unload(handler),
            Op::Refuse { callback } => {
                self.refusing.insert(callback);
                Ok(Answer::Done)
            }
            Op::Relent => {
                self.refusing.clear();
                Ok(Answer::Done)
            }
            Op::Borrow {
                direction: Direction::Outgoing,
                flb,
            } => self.borrow_outgoing(flb),
            Op::Borrow {
                direction: Direction::Incoming,
                flb,
            } => self.borrow_incoming(flb),
            Op::GiveBack {
                direction: Direction::Outgoing,
                flb,
            } => self.give_back_outgoing(flb),
            Op::GiveBack {
                direction: Direction::Incoming,
                flb,
            } => self.give_back_incoming(flb),
            Op::HandOver { image } => self.hand_over(image),
            Op::Jump { modules } => {
                self.jump(modules);
                Ok(Answer::Done)
            }
            Op::Kexec { .. }
            | Op::CreateMany { .. }
            | Op::PreserveMany { .. }
            | Op::FinishAll { .. }
            | Op::FinishMany { .. } => {
                panic!("{op:?} consists of others")
            }
        }
    }

    /// Does `op` while a callback refuses.
    pub fn apply_refusing(&mut self, op: Op, callback: Callback) -> Outcome {
        let is_new = self.refusing.insert(callback);
        let outcome = self.apply(op);
        if is_new {
            self.refusing.remove(&callback);
        }
        outcome
    }

    /// The sessions of the previous kernel are read. An operation may have come so far before it failed for lack of memory.
    pub fn read_sessions(&mut self) {
        self.nr_unread = 0;
    }

    /// Opening the device reads the sessions of the previous kernel.
    fn open_device(&mut self, process: Process) -> Outcome {
        if self.device.is_some() {
            return Err(Errno::EBUSY);
        }
        self.device = Some(process);
        self.read_sessions();
        Ok(Answer::Done)
    }

    /// A call of the device gets a descriptor, if it has one to give.
    fn call_device(&mut self, process: Process, obstacle: Obstacle) -> Result<(), Errno> {
        if self.device != Some(process) {
            self.open_device(process)?;
            self.device = None;
        }
        self.reserve_descriptor(obstacle)
    }

    fn reserve_descriptor(&self, obstacle: Obstacle) -> Result<(), Errno> {
        match obstacle {
            Obstacle::NoDescriptor => Err(Errno::EMFILE),
            Obstacle::None | Obstacle::Unwritable => Ok(()),
        }
    }

    /// Once handed over, nothing changes any more.
    fn change(&self) -> Result<(), Errno> {
        match self.handed_over {
            Some(_) => Err(Errno::ESHUTDOWN),
            None => Ok(()),
        }
    }

    fn answer(obstacle: Obstacle) -> Result<(), Errno> {
        match obstacle {
            Obstacle::Unwritable => Err(Errno::EFAULT),
            Obstacle::None | Obstacle::NoDescriptor => Ok(()),
        }
    }

    /// Calls a callback.
    fn call(&self, callback: Callback) -> Result<(), Errno> {
        match self.refusing.contains(&callback) {
            true => Err(Errno::EDOM),
            false => Ok(()),
        }
    }

    /// Who has the descriptor of a session.
    fn holder(&self, Session { direction, name }: Session) -> Result<Process, Errno> {
        let holder = match direction {
            Direction::Outgoing => self
                .outgoing
                .iter()
                .find(|it| it.name == name)
                .and_then(|it| it.holder),
            Direction::Incoming => self
                .incoming
                .iter()
                .find(|it| it.name == name)
                .and_then(|it| it.holder),
        };
        holder.ok_or(Errno::EBADF)
    }

    fn close(&mut self, session: Session) -> Outcome {
        self.holder(session)?;
        match session.direction {
            Direction::Outgoing => self.close_outgoing(session.name),
            Direction::Incoming => self.close_incoming(session.name),
        }
        Ok(Answer::Done)
    }

    fn crash(&mut self, process: Process) -> Outcome {
        self.device.take_if(|it| *it == process);
        self.descriptors.retain(|(it, _), _| *it != process);
        for session in self.sessions() {
            if self.holder(session) == Ok(process) {
                self.close(session)?;
            }
        }
        Ok(Answer::Done)
    }

    fn sessions(&self) -> Vec<Session> {
        let outgoing = self
            .outgoing
            .iter()
            .map(|it| (Direction::Outgoing, it.name));
        let incoming = self
            .incoming
            .iter()
            .map(|it| (Direction::Incoming, it.name));
        outgoing
            .chain(incoming)
            .map(|(direction, name)| Session { direction, name })
            .collect()
    }

    /// A module is in use while LUO has a file of its handler in its hands.
    fn unload(&mut self, handler: Handler) -> Outcome {
        if !self.loaded.contains(&handler) {
            return Err(Errno::ENOENT);
        }
        if self.nr_files_held(handler) > 0 {
            return Err(Errno::EBUSY);
        }
        self.loaded.remove(&handler);
        Ok(Answer::Done)
    }

    fn nr_files_held(&self, handler: Handler) -> usize {
        let outgoing = self.outgoing.iter().flat_map(Outgoing::memfds);
        let incoming = self.incoming.iter().flat_map(Incoming::memfds_read);
        outgoing
            .chain(incoming)
            .filter(|it| it.handler == handler)
            .count()
    }

    fn nr_handles(&self, handler: Handler) -> usize {
        let outgoing = self.outgoing.iter().flat_map(Outgoing::memfds);
        let incoming = self.incoming.iter().flat_map(Incoming::memfds);
        outgoing
            .chain(incoming)
            .filter(|it| it.handler == handler)
            .count()
    }

    fn hand_over(&mut self, image: Image) -> Outcome {
        self.change()?;
        self.read_sessions();
        let has_sessions = !self.outgoing.is_empty() || self.unfinished().next().is_some();
        if has_sessions && image == Image::WithoutHandover {
            return Err(Errno::ENOEXEC);
        }
        self.pass_on()?;
        for memfd in self.outgoing.iter().flat_map(Outgoing::memfds) {
            self.call(Callback::Freeze(memfd.handler))?;
        }
        self.handed_over = Some(image);
        Ok(Answer::Done)
    }

    fn jump(&mut self, modules: Modules) {
        let Some(image) = self.handed_over else {
            return;
        };
        let old = std::mem::replace(self, Self::power_on(modules));
        self.nr_made = old.nr_made;
        if image == Image::WithHandover {
            self.is_live_updated = true;
            self.flbs = Flb::ALL.map(|it| FlbLife::restored(old.nr_files_of(it)));
            self.incoming = old.unfinished().map(Incoming::passed_on).collect();
            let outgoing = old.outgoing.into_iter().map(Incoming::restored);
            self.incoming.extend(outgoing);
            self.nr_unread = self.incoming.len();
        }
    }
}
