// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sessions for the next kernel.

use super::{Memfd, Oracle};
use crate::{
    Answer, Callback, Direction, Errno, File, FileState, Name, Obstacle, Outcome, Process, Session,
    SessionState, SessionView, Token,
};

/// How many sessions fit into a page.
pub(super) const SESSIONS_PER_BLOCK: usize = 51;
/// How many files fit into a page.
pub(super) const FILES_PER_BLOCK: usize = 63;

#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) name: Name,
    /// Nobody, once it is handed over and closed.
    pub(super) holder: Option<Process>,
    /// In the order of preservation.
    pub(super) files: Vec<(Token, Memfd)>,
}

impl Outgoing {
    pub(super) fn memfds(&self) -> impl Iterator<Item = Memfd> {
        self.files.iter().map(|(_, memfd)| *memfd)
    }

    /// Blocks, and a page for each file in which its handler writes it down.
    pub(super) fn nr_pages(&self) -> usize {
        self.files.len().div_ceil(FILES_PER_BLOCK) + self.files.len()
    }
}

impl Oracle {
    pub(super) fn create(&mut self, process: Process, name: Name, obstacle: Obstacle) -> Outcome {
        self.call_device(process, obstacle)?;
        self.change()?;
        if self.outgoing.iter().any(|it| it.name == name) {
            return Err(Errno::EEXIST);
        }
        Self::answer(obstacle)?;
        let (holder, files) = (Some(process), Vec::new());
        self.outgoing.push(Outgoing {
            name,
            holder,
            files,
        });
        Ok(Answer::Done)
    }

    pub(super) fn preserve(&mut self, name: Name, file: File, token: Token) -> Outcome {
        let direction = Direction::Outgoing;
        let process = self.holder(Session { direction, name })?;
        self.change()?;
        let index = self
            .outgoing
            .iter()
            .position(|it| it.name == name)
            .expect("somebody holds it");
        if self.outgoing[index]
            .files
            .iter()
            .any(|(it, _)| *it == token)
        {
            return Err(Errno::EEXIST);
        }
        let memfd = *self.descriptors.get(&(process, file)).ok_or(Errno::EBADF)?;
        if !self.loaded.contains(&memfd.handler) {
            return Err(Errno::ENOENT);
        }
        if self.is_in_hands(memfd) {
            return Err(Errno::EBUSY);
        }
        // The shared state comes first.
        for flb in memfd.handler.flbs() {
            if !self.is_kept(*flb) {
                self.call(Callback::FlbPreserve(*flb))?;
            }
        }
        self.call(Callback::Preserve(memfd.handler))?;
        self.outgoing[index].files.push((token, memfd));
        Ok(Answer::Done)
    }

    /// Whether the file is preserved, or was retrieved from a session that is not finished.
    fn is_in_hands(&self, memfd: Memfd) -> bool {
        let preserved = self.outgoing.iter().flat_map(Outgoing::memfds);
        let retrieved = self.incoming.iter().flat_map(super::Incoming::memfds_open);
        preserved
            .chain(retrieved)
            .any(|it| it.number == memfd.number)
    }

    /// Closing a session gives it up, unless it is the next kernel's.
    pub(super) fn close_outgoing(&mut self, name: Name) {
        if self.handed_over.is_none() {
            self.outgoing.retain(|it| it.name != name);
        }
        for session in self.outgoing.iter_mut().filter(|it| it.name == name) {
            session.holder = None;
        }
    }

    fn outgoing_called(&self, name: Name) -> &Outgoing {
        let session = self.outgoing.iter().find(|it| it.name == name);
        session.expect("it is there")
    }

    pub(super) fn show_outgoing(&self, name: Name) -> SessionView {
        let session = self.outgoing_called(name);
        let (state, file_state) = match self.handed_over {
            None => (SessionState::Open, FileState::Preserved),
            Some(_) => (SessionState::HandedOver, FileState::HandedOver),
        };
        let files = session
            .files
            .iter()
            .map(|(token, memfd)| (*token, memfd.handler, file_state));
        SessionView {
            state,
            files: files.collect(),
        }
    }

    pub(super) fn open_outgoing(&self, name: Name) -> Vec<(Token, u32)> {
        let files = self.outgoing_called(name).files.iter();
        files.map(|(token, memfd)| (*token, memfd.number)).collect()
    }
}
