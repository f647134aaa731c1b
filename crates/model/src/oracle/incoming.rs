// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sessions of the previous kernel. Nothing that nobody has fetched is destroyed, but by FINISH.

use std::collections::BTreeSet;

use super::{Memfd, Oracle, Outgoing, outgoing::FILES_PER_BLOCK};
use crate::{
    Answer, Callback, Direction, Errno, File, FileState, Flb, Handler, Name, Obstacle, Outcome,
    Process, Session, SessionState, SessionView, Token,
};

#[derive(Clone, Copy, Debug)]
struct IncomingFile {
    token: Token,
    memfd: Memfd,
    state: FileState,
}

impl IncomingFile {
    fn is_open(&self) -> bool {
        matches!(self.state, FileState::Restored | FileState::Retrieved)
    }

    /// The pages that only LUO and the handler know of.
    fn nr_pages(&self) -> usize {
        match self.state {
            FileState::Waiting | FileState::Failed => 1 + self.memfd.nr_pages,
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) name: Name,
    pub(super) holder: Option<Process>,
    pub(super) is_finished: bool,
    /// None once it is finished.
    files: Vec<IncomingFile>,
    /// How many files were read: all, or those before the first whose handler was missing.
    nr_read: usize,
}

impl Incoming {
    /// What the next kernel makes of a session.
    pub(super) fn restored(session: Outgoing) -> Self {
        let file = |(token, memfd)| {
            let state = FileState::Waiting;
            IncomingFile {
                token,
                memfd,
                state,
            }
        };
        Self {
            name: session.name,
            holder: None,
            is_finished: false,
            files: session.files.into_iter().map(file).collect(),
            nr_read: 0,
        }
    }

    /// What the next kernel makes of a session that this one passes on.
    pub(super) fn passed_on(&self) -> Self {
        Self {
            nr_read: 0,
            ..self.clone()
        }
    }

    /// Reads the files, up to the first whose handler is missing.
    fn read(&mut self, loaded: &BTreeSet<Handler>) -> Result<(), Errno> {
        // Found once, a handler stays, as its module is in use.
        while let Some(file) = self.files.get(self.nr_read) {
            if !loaded.contains(&file.memfd.handler) {
                return Err(Errno::EIO);
            }
            self.nr_read += 1;
        }
        Ok(())
    }

    pub(super) fn memfds(&self) -> impl Iterator<Item = Memfd> {
        self.files.iter().map(|it| it.memfd)
    }

    /// The files whose handlers are held.
    pub(super) fn memfds_read(&self) -> impl Iterator<Item = Memfd> {
        self.memfds().take(self.nr_read)
    }

    /// The files that LUO has open.
    pub(super) fn memfds_open(&self) -> impl Iterator<Item = Memfd> {
        self.files
            .iter()
            .filter(|it| it.is_open())
            .map(|it| it.memfd)
    }

    /// The blocks for its files.
    pub(super) fn nr_blocks(&self) -> usize {
        self.files.len().div_ceil(FILES_PER_BLOCK)
    }

    pub(super) fn nr_pages(&self) -> usize {
        let files: usize = self.files.iter().map(IncomingFile::nr_pages).sum();
        self.nr_blocks() + files
    }
}

impl Oracle {
    fn incoming(&mut self, name: Name) -> Result<&mut Incoming, Errno> {
        self.incoming
            .iter_mut()
            .find(|it| it.name == name)
            .ok_or(Errno::ENOENT)
    }

    fn checked_out(&mut self, name: Name) -> Result<(&mut Incoming, Process), Errno> {
        let direction = Direction::Incoming;
        let process = self.holder(Session { direction, name })?;
        Ok((self.incoming(name)?, process))
    }

    pub(super) fn retrieve(&mut self, process: Process, name: Name, obstacle: Obstacle) -> Outcome {
        self.call_device(process, obstacle)?;
        self.change()?;
        let loaded = self.loaded.clone();
        let session = self.incoming(name)?;
        if session.is_finished {
            return Err(Errno::ENOENT);
        }
        if session.holder.is_some() {
            return Err(Errno::EINVAL);
        }
        session.read(&loaded)?;
        Self::answer(obstacle)?;
        session.holder = Some(process);
        Ok(Answer::Done)
    }

    /// The sessions of which a kexec could lose something.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Incoming> {
        self.incoming.iter().filter(|it| !it.is_finished)
    }

    /// The sessions that are the next kernel's now, though another kernel had made them.
    pub(super) fn passed_on(&self) -> impl Iterator<Item = &Incoming> {
        let is_handed_over = self.handed_over.is_some();
        self.unfinished().filter(move |_| is_handed_over)
    }

    /// How many files, in sessions that nobody has retrieved, are the next kernel's now.
    #[must_use]
    pub fn nr_files_passed_on(&self) -> usize {
        self.passed_on().flat_map(Incoming::memfds).count()
    }

    /// Passes the sessions that nobody has on to the next kernel, with their files, if their handlers do the same.
    pub(super) fn pass_on(&mut self) -> Result<(), Errno> {
        let loaded = self.loaded.clone();
        self.incoming.sort_by_key(|it| it.name);
        // All are read before the first handler or FLB is asked.
        for session in self.incoming.iter_mut().filter(|it| !it.is_finished) {
            if session.holder.is_some() || session.read(&loaded).is_err() {
                return Err(Errno::EBUSY);
            }
        }
        match self.unfinished().all(|it| self.can_pass_on(it)) {
            true => Ok(()),
            false => Err(Errno::EBUSY),
        }
    }

    fn can_pass_on(&self, session: &Incoming) -> bool {
        let can_file = |file: &IncomingFile| {
            let handler = file.memfd.handler;
            let can_flb = |flb: &Flb| {
                let callback = Callback::FlbPreserve(*flb);
                !self.waits(*flb) && (self.is_kept(*flb) || self.call(callback).is_ok())
            };
            file.state == FileState::Waiting
                && handler.passes_on()
                && handler.flbs().iter().all(can_flb)
                && self.call(Callback::Carry(handler)).is_ok()
        };
        let mut outgoing = self.outgoing.iter();
        session.files.iter().all(can_file) && !outgoing.any(|it| it.name == session.name)
    }

    pub(super) fn retrieve_file(
        &mut self,
        name: Name,
        token: Token,
        into: File,
        obstacle: Obstacle,
    ) -> Outcome {
        let (_, process) = self.checked_out(name)?;
        self.reserve_descriptor(obstacle)?;
        self.change()?;
        let refusing = self.refusing.clone();
        let session = self.incoming(name)?;
        let file = session
            .files
            .iter_mut()
            .find(|it| it.token == token)
            .ok_or(Errno::ENOENT)?;
        let memfd = file.memfd;
        if file.state == FileState::Waiting {
            // The handler has one try: a failure is for good.
            file.state = match refusing.contains(&Callback::Retrieve(memfd.handler)) {
                true => FileState::Failed,
                false => FileState::Restored,
            };
        }
        if file.state == FileState::Failed {
            return Err(Errno::EDOM);
        }
        // Nothing counts as fetched before its descriptor is delivered.
        Self::answer(obstacle)?;
        file.state = FileState::Retrieved;
        self.descriptors.insert((process, into), memfd);
        Ok(Answer::Contents(memfd.number))
    }

    pub(super) fn finish(&mut self, name: Name) -> Outcome {
        self.checked_out(name)?;
        self.change()?;
        if self.incoming(name)?.is_finished {
            return Ok(Answer::Done);
        }
        self.finish_files(name)
    }

    /// Ends a session, if all handlers are ready; what was not retrieved is discarded.
    fn finish_files(&mut self, name: Name) -> Outcome {
        let files = self.incoming(name)?.files.clone();
        for file in &files {
            let ready = self.call(Callback::CanFinish(file.memfd.handler));
            ready.map_err(|_| Errno::EBUSY)?;
        }
        for file in files.iter().rev() {
            if file.state == FileState::Failed {
                self.nr_lost_pages += file.nr_pages();
            }
            for flb in file.memfd.handler.flbs() {
                self.file_finished(*flb);
            }
        }
        let session = self.incoming(name)?;
        session.is_finished = true;
        session.files.clear();
        Ok(Answer::Done)
    }

    /// Closing a session of which everything was fetched finishes it; otherwise it is available again.
    pub(super) fn close_incoming(&mut self, name: Name) {
        let Ok(session) = self.incoming(name) else {
            return;
        };
        session.holder = None;
        let all_fetched = session
            .files
            .iter()
            .all(|it| it.state == FileState::Retrieved);
        if !session.is_finished && all_fetched && self.change().is_ok() {
            // A handler that is not ready leaves the session available.
            let _ = self.finish_files(name);
        }
        self.incoming
            .retain(|it| it.holder.is_some() || !it.is_finished);
    }

    fn incoming_called(&self, name: Name) -> &Incoming {
        let session = self.incoming.iter().find(|it| it.name == name);
        session.expect("it is there")
    }

    pub(super) fn show_incoming(&self, name: Name) -> SessionView {
        let session = self.incoming_called(name);
        let state = match session.is_finished {
            true => SessionState::Finished,
            false => SessionState::Retrieved,
        };
        let files = session
            .files
            .iter()
            .map(|it| (it.token, it.memfd.handler, it.state));
        SessionView {
            state,
            files: files.collect(),
        }
    }

    pub(super) fn open_incoming(&self, name: Name) -> Vec<(Token, u32)> {
        let files = self.incoming_called(name).files.iter();
        let open = files.filter(|it| it.is_open());
        open.map(|it| (it.token, it.memfd.number)).collect()
    }
}
