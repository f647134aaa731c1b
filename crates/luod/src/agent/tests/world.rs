// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A kernel and a vault in this process. A session is a temporary file; who it is is its inode.

use std::{cell::RefCell, collections::BTreeMap, fs::File, os::fd::BorrowedFd, rc::Rc};

use liveupdate::{Outgoing, SessionInfo, SessionName};
use rustix::io::Errno;

use super::*;
use crate::{
    protocol,
    vault::{Key, Vault},
};

pub(super) type Files = BTreeMap<u64, File>;

/// What outlives the agent.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Open outgoing sessions by inode; closed ones are noticed by [`Machine::close_sessions`] only.
    pub(super) outgoing: BTreeMap<u64, (String, Files)>,
    pub(super) incoming: BTreeMap<String, (OwnedFd, Files, bool)>,
    pub(super) vault: BTreeMap<String, OwnedFd>,
    pub(super) loaded: bool,
    pub(super) refuse_to_leave: Option<String>,
    /// Whether somebody else replaces the kernel, at the end of a shutdown.
    pub(super) shuts_down: bool,
    pub(super) left: bool,
}

impl World {
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// As if the agent had died before it could take its own session out of the vault.
    pub(super) fn put_own_back(&mut self) {
        let own = self.incoming["luod"].0.try_clone().unwrap();
        self.vault.insert(Key::IncomingOwn.to_string(), own);
    }

    fn arrived(&mut self, session: BorrowedFd<'_>) -> Option<&mut (OwnedFd, Files, bool)> {
        let wanted = inode(session);
        self.incoming
            .values_mut()
            .find(|(fd, ..)| inode(fd.as_fd()) == wanted)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Fake(pub(super) Rc<RefCell<World>>);

pub(super) fn inode(fd: BorrowedFd<'_>) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

fn error(operation: liveupdate::Operation, errno: Errno) -> liveupdate::Error {
    liveupdate::Error {
        operation,
        object: "a test".into(),
        errno,
    }
}

impl Kernel for Fake {
    fn create(&mut self, name: &SessionName) -> liveupdate::Result<Session<Outgoing>> {
        let mut world = self.0.borrow_mut();
        if world.outgoing.values().any(|(it, _)| it == name.as_str()) {
            return Err(error(liveupdate::Operation::Create, Errno::EXIST));
        }
        let fd = OwnedFd::from(tempfile::tempfile().unwrap());
        world
            .outgoing
            .insert(inode(fd.as_fd()), (name.to_string(), Files::new()));
        Ok(fd.into())
    }

    fn preserve(
        &self,
        session: &Session<Outgoing>,
        token: Token,
        file: BorrowedFd<'_>,
    ) -> liveupdate::Result<()> {
        let file = File::from(file.try_clone_to_owned().unwrap());
        let mut world = self.0.borrow_mut();
        let files = &mut world.outgoing.get_mut(&inode(session.as_fd())).unwrap().1;
        match files.insert(token.0, file) {
            None => Ok(()),
            Some(_) => Err(error(liveupdate::Operation::Preserve, Errno::EXIST)),
        }
    }

    fn retrieve(&self, session: &Session<Incoming>, token: Token) -> liveupdate::Result<OwnedFd> {
        let mut world = self.0.borrow_mut();
        let file = world
            .arrived(session.as_fd())
            .filter(|it| !it.2)
            .and_then(|it| it.1.get(&token.0));
        let file = file.ok_or_else(|| error(liveupdate::Operation::RetrieveFile, Errno::NOENT))?;
        Ok(file.try_clone().unwrap().into())
    }

    fn finish(&self, session: &Session<Incoming>) -> liveupdate::Result<()> {
        self.0.borrow_mut().arrived(session.as_fd()).unwrap().2 = true;
        Ok(())
    }

    fn info(&self, session: BorrowedFd<'_>) -> Option<SessionInfo> {
        let mut world = self.0.borrow_mut();
        let state = match world.arrived(session) {
            Some((.., true)) => "finished",
            Some(_) => "retrieved",
            None => "open",
        };
        let direction = if state == "open" {
            "outgoing"
        } else {
            "incoming"
        };
        let text = format!("luo-session:\tx\nluo-direction:\t{direction}\nluo-state:\t{state}\n");
        SessionInfo::parse(&text)
    }

    fn unsupported(&self) -> Option<String> {
        None
    }

    fn is_loaded(&self) -> bool {
        self.0.borrow().loaded
    }

    fn incoming(&self) -> Option<protocol::Incoming> {
        Some(protocol::Incoming {
            sessions: 0,
            leaked: Vec::new(),
            leaked_bytes: 0,
        })
    }

    fn leaves_at_once(&self) -> bool {
        !self.0.borrow().shuts_down
    }

    fn leave(&mut self) -> Result<(), String> {
        let mut world = self.0.borrow_mut();
        match world.refuse_to_leave.take() {
            Some(reason) => Err(reason),
            None => {
                world.left = true;
                Ok(())
            }
        }
    }
}

impl Vault for Fake {
    /// As systemd has it: what is there already is not added once more under another name.
    fn put(&mut self, key: &Key, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.remove(key)?;
        let vault = &mut self.0.borrow_mut().vault;
        if vault.values().all(|it| inode(it.as_fd()) != inode(fd)) {
            vault.insert(key.to_string(), fd.try_clone_to_owned()?);
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> io::Result<()> {
        self.0.borrow_mut().vault.remove(&key.to_string());
        Ok(())
    }

    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>> {
        let world = self.0.borrow();
        let all = world.vault.iter();
        all.map(|(key, fd)| Ok((Key::parse(key).unwrap(), fd.try_clone()?)))
            .collect()
    }

    fn retrieve(&mut self, key: &Key, session: &SessionName) -> liveupdate::Result<OwnedFd> {
        let fd = {
            let world = self.0.borrow();
            let found = world.incoming.get(session.as_str()).filter(|it| !it.2);
            let not_found = || error(liveupdate::Operation::RetrieveSession, Errno::NOENT);
            found.ok_or_else(not_found)?.0.try_clone().unwrap()
        };
        self.put(key, fd.as_fd()).unwrap();
        Ok(fd)
    }
}

impl Fake {
    pub(super) fn retrieve_file(&self, session: &Session<Incoming>, token: Token) -> OwnedFd {
        Kernel::retrieve(self, session, token).unwrap()
    }
}
