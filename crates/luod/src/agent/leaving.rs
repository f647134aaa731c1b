// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The end of the barrier: what the next kernel's agent has to know, and the way there.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use liveupdate::Token;

use super::{
    Agent, NAME, Peer, reached,
    update::{Member, Update},
};
use crate::{
    clock::Moment,
    keep,
    kernel::Kernel,
    manifest::{self, Carried, CarriedFile, Departure, Manifest},
    protocol::{Ended, Event, Id, Phase},
};

impl<K: Kernel> Agent<K> {
    /// Whether everybody is ready, and what is to be sent first is sent.
    pub fn wants_to_leave(&self) -> bool {
        let waits = |it: &Update| it.waiting().next().is_some();
        self.outputs.is_empty()
            && self
                .update
                .as_ref()
                .is_some_and(|it| it.phase == Phase::Preserving && !waits(it))
    }

    /// Writes down who owns what. Afterwards only the kernel is to be called, when all that is to be sent has been sent.
    pub fn prepare_to_leave(&mut self) -> bool {
        reached("all-ready");
        let Some(update) = &mut self.update else {
            return false;
        };
        update.ready = Some(Moment::now());
        update.phase = Phase::Leaving;
        match self.preserve_manifest() {
            Err(reason) => self.end(Ended::Failed, Some(&reason)),
            Ok(asked_by) if self.update.as_ref().is_some_and(|it| !it.dry_run) => {
                reached("manifest-preserved");
                let event = Event::Ended {
                    outcome: Ended::Rebooting,
                    reason: None,
                };
                self.tell(asked_by, &event);
                return true;
            }
            Ok(_) => self.end(Ended::Rehearsed, None),
        }
        false
    }

    /// Replaces the kernel; if it comes back, that could not be done, and everything is as before.
    pub fn leave(&mut self) {
        reached("before-reboot");
        match self.kernel.leave() {
            // Somebody else shuts the machine down, and ends the agent with it.
            Ok(()) => {}
            Err(reason) => self.end(Ended::Failed, Some(&reason)),
        }
    }

    fn preserve_manifest(&mut self) -> Result<Peer, String> {
        let update = self.update.as_mut().ok_or("no update is under way")?;
        let own = update.own.as_ref().ok_or("the agent has no session")?;
        for (name, file) in &mut update.kept {
            let why = |err: &dyn std::fmt::Display| format!("the kept file {name}: {err}");
            let beside = self.keeper.pack(name).map_err(|err| why(&err))?;
            let token = Token(file.token + 1);
            self.kernel
                .preserve(own, token, beside.as_fd())
                .map_err(|err| why(&err))?;
            if file.checksum {
                let memory = self
                    .keeper
                    .file(name)
                    .ok_or_else(|| why(&"it is not there"))?;
                file.sha256 = Some(keep::checksum(memory).map_err(|err| why(&err))?);
            }
        }
        let uid = |id: &Id| self.ledger.known.get(id).copied().unwrap_or_default();
        let carried = |(id, member): (&Id, &Member)| {
            let info = self.kernel.info(member.session.as_fd());
            let file = |it: liveupdate::FileInfo| CarriedFile {
                token: it.token.0,
                handler: it.handler,
                bytes: it.bytes,
            };
            let files = info.map(|it| it.files.into_iter().map(file).collect());
            (
                id.clone(),
                Carried {
                    uid: uid(id),
                    files,
                },
            )
        };
        let mut sessions: BTreeMap<_, _> = update.members.iter().map(carried).collect();
        // What nobody has claimed goes on to the kernel after this one, if this one can do that.
        for (id, arrived) in &self.ledger.incoming {
            if arrived.unavailable.is_none() && !self.held.contains_key(id) {
                sessions
                    .entry(id.clone())
                    .or_insert_with(|| arrived.carried.clone());
            }
        }
        let manifest = Manifest {
            format: manifest::FORMAT.into(),
            agent: NAME.into(),
            from: self.settings.release.clone(),
            sessions,
            kept: update.kept.clone(),
            moments: Departure {
                agent_started: self.started,
                asked: update.asked,
                ready: update.ready.unwrap_or(update.asked),
                left: Moment::now(),
            },
        };
        let file = keep::memory("manifest", 0).map_err(|err| err.to_string())?;
        manifest
            .write(&file)
            .map_err(|err| format!("cannot write the manifest: {err}"))?;
        let preserved = self.kernel.preserve(own, manifest::TOKEN, file.as_fd());
        preserved.map_err(|err| format!("the manifest: {err}"))?;
        Ok(update.asked_by)
    }
}
