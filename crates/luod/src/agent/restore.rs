// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What an agent finds when it starts.
//!
//! | found | happened | done |
//! |---|---|---|
//! | outgoing sessions in the vault | the agent died in an update | called off: the sessions are closed |
//! | incoming sessions in the vault, no ledger of this boot | the service manager has carried them over | they wait to be claimed |
//! | a ledger of this boot | the agent died | it goes on from there |
//! | no ledger | the kernel is new to the agent | it asks the kernel for its own session |
//!
//! The agent's own session is finished only after the ledger is written, and retrieving a file again gives the same file, so
//! that this can be interrupted anywhere, and begun again.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use liveupdate::{Incoming, Operation, Session, SessionName, Token};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Agent, LEDGER, reached, say};
use crate::{
    clock::Moment,
    keep,
    kernel::Kernel,
    manifest::{self, Arrival, Arrived, KeptFile, Ledger, Manifest},
    protocol::Id,
    vault::Key,
};

/// The ledger as it is written down.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written<L> {
    pub(super) boot_id: String,
    #[serde(flatten)]
    pub(super) ledger: L,
}

impl<K: Kernel> Agent<K> {
    pub(super) fn restore(&mut self) -> io::Result<()> {
        let ledger = self.load_ledger();
        let is_new = ledger.is_none();
        self.ledger = ledger.unwrap_or_default();
        let mut own = None;
        for (key, fd) in self.vault.all()? {
            match key {
                Key::Outgoing(_) | Key::OutgoingOwn => {
                    say(format_args!(
                        "{key}: the agent died in an update, which is called off"
                    ));
                    self.vault.remove(&key)?;
                }
                Key::Incoming(id) if is_new || self.ledger.incoming.contains_key(&id) => {
                    if is_new {
                        self.early.insert(id.clone());
                    }
                    self.held.insert(id, fd.into());
                }
                Key::Incoming(_) => self.vault.remove(&key)?,
                Key::Kept(name) => self.restore_kept(name, fd)?,
                Key::IncomingOwn => own = Some(fd),
            }
        }
        if is_new && own.is_none() {
            own = self.retrieve_own();
        }
        if let Some(own) = own {
            self.take_over(&own.into());
        }
        self.note();
        reached("ledger-written");
        Ok(())
    }

    fn load_ledger(&self) -> Option<Ledger> {
        let path = self.settings.state.join(LEDGER);
        match manifest::load::<Written<Ledger>>(&path) {
            Ok(Some(written)) if written.boot_id == self.settings.boot_id => Some(written.ledger),
            Ok(_) => None,
            Err(err) => {
                say(format_args!("{} is unusable: {err}", path.display()));
                None
            }
        }
    }

    /// A kept file of an agent that died: it is shown again, or nobody was told of it.
    fn restore_kept(&mut self, name: Id, fd: OwnedFd) -> io::Result<()> {
        let Some(file) = self.ledger.kept.get(&name) else {
            return self.vault.remove(&Key::Kept(name));
        };
        if let Err(err) = self.keeper.show(&name, file.uid, fd) {
            self.complain(format!("the kept file {name} cannot be shown: {err}"));
        }
        Ok(())
    }

    fn retrieve_own(&mut self) -> Option<OwnedFd> {
        let name = SessionName::new(manifest::SESSION).expect("it is short");
        if self.kernel.unsupported().is_some() {
            return None;
        }
        match self.vault.retrieve(&Key::IncomingOwn, &name) {
            Ok(fd) => {
                reached("own-session-retrieved");
                Some(fd)
            }
            // No agent was there, or this is a cold boot.
            Err(err)
                if (err.operation, err.errno) == (Operation::RetrieveSession, Errno::NOENT) =>
            {
                None
            }
            Err(err) => {
                self.complain(format!(
                    "what the agent has carried over cannot be had: {err}"
                ));
                None
            }
        }
    }

    /// Everything that the agent in the previous kernel has left for this one.
    fn take_over(&mut self, own: &Session<Incoming>) {
        let manifest = self.kernel.retrieve(own, manifest::TOKEN).map(File::from);
        if self.ledger.arrival.is_some()
            && manifest.as_ref().is_err_and(|it| it.errno == Errno::NOENT)
        {
            // The agent has died after it has finished the session, of which nothing is left.
            return self.forget(&Key::IncomingOwn);
        }
        let manifest = manifest.map_err(|err| err.to_string()).and_then(|file| {
            Manifest::read(&file).map_err(|err| format!("the manifest is unusable: {err}"))
        });
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(reason) => return self.complain(reason),
        };
        reached("manifest-read");
        for (id, carried) in manifest.sessions {
            self.ledger.known.entry(id.clone()).or_insert(carried.uid);
            // An agent that starts again has this in its ledger, or it is done.
            if self.ledger.arrival.is_none() {
                let arrived = Arrived {
                    carried,
                    unavailable: None,
                };
                self.ledger.incoming.insert(id, arrived);
            }
        }
        let mut all_there = true;
        for (name, file) in manifest.kept {
            if self.ledger.kept.contains_key(&name) {
                continue;
            }
            match self.take_over_kept(own, &name, &file) {
                Ok(()) => {}
                Err(reason) => {
                    all_there = false;
                    self.complain(format!("the kept file {name} cannot be had: {reason}"));
                }
            }
        }
        if self.ledger.arrival.is_none() {
            self.ledger.arrival = Some(Arrival {
                from: manifest.from,
                departure: manifest.moments,
                agent_started: self.started,
                restored: Moment::now(),
                claimed: None,
            });
        }
        if let Err(err) = self.write_ledger() {
            return self.complain(format!("cannot write {LEDGER}: {err}"));
        }
        reached("ledger-written");
        if !all_there {
            // The session stays as it is, and an agent that starts again tries again.
            return;
        }
        match self.kernel.finish(own) {
            Ok(()) => {
                reached("own-session-finished");
                self.forget(&Key::IncomingOwn);
            }
            Err(err) => self.complain(err.to_string()),
        }
    }

    fn take_over_kept(
        &mut self,
        own: &Session<Incoming>,
        name: &Id,
        kept: &KeptFile,
    ) -> Result<(), String> {
        let text = |err: &dyn std::fmt::Display| err.to_string();
        let memory = self
            .kernel
            .retrieve(own, Token(kept.token))
            .map_err(|err| text(&err))?;
        let beside = self
            .kernel
            .retrieve(own, Token(kept.token + 1))
            .map_err(|err| text(&err))?;
        reached("kept-file-retrieved");
        let memory = File::from(memory);
        if let Some(expected) = &kept.sha256 {
            let found = keep::checksum(&memory).map_err(|err| text(&err))?;
            if found != *expected {
                let message = format!(
                    "the kept file {name} is not what it was: its checksum is {found}, not {expected}"
                );
                self.complain(message);
            }
        }
        let key = Key::Kept(name.clone());
        self.vault
            .put(&key, memory.as_fd())
            .map_err(|err| text(&err))?;
        self.keeper
            .show(name, kept.uid, memory.into())
            .map_err(|err| text(&err))?;
        self.keeper
            .unpack(name, &File::from(beside))
            .map_err(|err| text(&err))?;
        let kept = KeptFile {
            token: 0,
            sha256: None,
            ..kept.clone()
        };
        self.ledger.kept.insert(name.clone(), kept);
        reached("kept-file-back");
        Ok(())
    }

    pub(super) fn complain(&mut self, message: String) {
        say(&message);
        self.ledger.complaints.insert(message);
    }
}
