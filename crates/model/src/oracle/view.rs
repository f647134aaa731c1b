// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What can be seen of a machine.

use std::collections::BTreeMap;

use super::{Incoming, Oracle, Outgoing, outgoing};
use crate::{Direction, Flb, Handler, Session, Token, View};

impl Oracle {
    /// What can be seen now.
    #[must_use]
    pub fn view(&self) -> View {
        let session = |it: Session| {
            let shown = match it.direction {
                Direction::Outgoing => self.show_outgoing(it.name),
                Direction::Incoming => self.show_incoming(it.name),
            };
            (it, shown)
        };
        let held = self
            .sessions()
            .into_iter()
            .filter(|it| self.holder(*it).is_ok());
        View {
            sessions: held.map(session).collect(),
            handler_refs: Handler::ALL.map(|it| self.nr_files_held(it)),
            nr_handles: Handler::ALL.map(|it| self.nr_handles(it)),
            flb_refs: Flb::ALL.map(|it| self.nr_lives_held(it)),
            finished_flbs: Flb::ALL.map(|it| self.is_finished(it)),
            nr_pages: self.nr_pages(),
        }
    }

    /// The files of a session that are open, by token, with what [`crate::Answer::Contents`] says of each.
    ///
    /// # Panics
    /// If there is no such session.
    #[must_use]
    pub fn open_files(&self, session: Session) -> Vec<(Token, u32)> {
        match session.direction {
            Direction::Outgoing => self.open_outgoing(session.name),
            Direction::Incoming => self.open_incoming(session.name),
        }
    }

    /// Every page that is in use, and why.
    fn nr_pages(&self) -> usize {
        // The root for the next kernel with its page of FLBs, and the root of the previous one.
        let roots = 2 + usize::from(self.is_live_updated);
        let unread = self.nr_unread.div_ceil(outgoing::SESSIONS_PER_BLOCK);
        let outgoing = self.outgoing.len() + self.passed_on().count();
        let outgoing = outgoing.div_ceil(outgoing::SESSIONS_PER_BLOCK);
        let outgoing_files: usize = self.outgoing.iter().map(Outgoing::nr_pages).sum();
        let passed_on_files: usize = self.passed_on().map(Incoming::nr_blocks).sum();
        let incoming_files: usize = self.incoming.iter().map(Incoming::nr_pages).sum();
        let open = self.descriptors.values().copied();
        let open = open.chain(self.outgoing.iter().flat_map(Outgoing::memfds));
        let open = open.chain(self.incoming.iter().flat_map(Incoming::memfds_open));
        let open: BTreeMap<_, _> = open.map(|it| (it.number, it.nr_pages)).collect();
        let open: usize = open.values().sum();
        let files = outgoing_files + passed_on_files + incoming_files + open;
        roots + unread + outgoing + files + self.nr_lost_pages
    }
}
