// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What there is.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::{Agent, NAME, Refusal, Who};
use crate::{
    kernel::Kernel,
    kexec, manifest,
    protocol::{
        ClientReport, Event, FileReport, KeptReport, KernelReport, SessionReport, SessionState,
        Status,
    },
};

impl<K: Kernel> Agent<K> {
    pub(super) fn status(&mut self, who: Who) -> Result<Event, Refusal> {
        self.sweep(|_| true);
        let sees_all = self.policy.is_operator(who.uid);
        let sees = |uid: u32| sees_all || uid == who.uid;
        let clients = self
            .peers
            .values()
            .filter(|it| !it.ids.is_empty() && sees(it.who.uid));
        let clients = clients.map(|it| ClientReport {
            pid: it.who.pid,
            uid: it.who.uid,
            ids: it.ids.iter().cloned().collect(),
        });
        let kept = self.ledger.kept.iter().filter(|(_, it)| sees(it.uid));
        let kept = kept.map(|(name, it)| {
            let (bytes, allocated_bytes) = self.keeper.sizes(name).unwrap_or_default();
            let path = self.keeper.path(name).to_string_lossy().into_owned();
            KeptReport {
                name: name.clone(),
                uid: it.uid,
                path,
                bytes,
                allocated_bytes,
            }
        });
        let mut sessions = self.outgoing();
        sessions.extend(self.arrived());
        sessions.retain(|it| sees(it.uid));
        Ok(Event::Status(Box::new(Status {
            agent: NAME.into(),
            kernel: self.kernel_report(),
            update: self.progress(),
            clients: clients.collect(),
            sessions,
            kept: kept.collect(),
        })))
    }

    pub(super) fn kernel_report(&self) -> KernelReport {
        let image_loaded = self.kernel.is_loaded();
        KernelReport {
            release: self.settings.release.clone(),
            unsupported: self.kernel.unsupported(),
            image_loaded,
            image: kexec::remembered(&self.settings.state).filter(|_| image_loaded),
            incoming: self.kernel.incoming(),
        }
    }

    fn outgoing(&self) -> Vec<SessionReport> {
        let Some(update) = &self.update else {
            return Vec::new();
        };
        let report =
            |(id, session, ready): (&crate::protocol::Id, &liveupdate::Session<_>, bool)| {
                SessionReport {
                    id: id.clone(),
                    uid: self.ledger.known.get(id).copied().unwrap_or_default(),
                    state: if ready {
                        SessionState::Ready
                    } else {
                        SessionState::Preserving
                    },
                    files: self.files(session.as_fd()),
                }
            };
        update.members().map(report).collect()
    }

    fn arrived(&self) -> Vec<SessionReport> {
        let report = |(id, arrived): (&crate::protocol::Id, &manifest::Arrived)| {
            let state = match (self.is_claimed(id), &arrived.unavailable) {
                (true, _) => SessionState::Claimed,
                (false, Some(_)) => SessionState::Unavailable,
                (false, None) => SessionState::Waiting,
            };
            let waiting = |it: &manifest::CarriedFile| FileReport {
                token: it.token,
                handler: it.handler.clone(),
                bytes: it.bytes,
                state: "waiting".into(),
            };
            let told = || {
                Some(
                    arrived
                        .carried
                        .files
                        .as_ref()?
                        .iter()
                        .map(waiting)
                        .collect(),
                )
            };
            SessionReport {
                id: id.clone(),
                uid: arrived.carried.uid,
                state,
                files: match self.held.get(id) {
                    Some(session) => self.files(session.as_fd()),
                    None => told(),
                },
            }
        };
        self.ledger.incoming.iter().map(report).collect()
    }

    /// What the kernel shows in a session.
    fn files(&self, session: BorrowedFd<'_>) -> Option<Vec<FileReport>> {
        let file = |it: liveupdate::FileInfo| FileReport {
            token: it.token.0,
            handler: it.handler,
            bytes: it.bytes,
            state: it.state,
        };
        Some(
            self.kernel
                .info(session)?
                .files
                .into_iter()
                .map(file)
                .collect(),
        )
    }
}
