// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Descriptors that outlive the agent.
//!
//! A session that nobody has open is unpreserved, or worse. So each that the agent gets is put into a vault at once, under a
//! name, and taken out when it is no longer needed: the service manager's descriptor store, or a [`holder`] process where
//! there is none. An agent that starts again finds there what the one before it had.

pub mod holder;
mod systemd;

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use liveupdate::SessionName;

use crate::{kernel::open_device, protocol::Id};

/// What a descriptor is. As text it has no colon, which descriptor stores do not allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A client's session that goes to the next kernel.
    Outgoing(Id),
    /// A client's session that came from the previous one.
    Incoming(Id),
    /// A kept file.
    Kept(Id),
    /// The agent's own session that goes to the next kernel.
    OutgoingOwn,
    /// The agent's own session that came from the previous one.
    IncomingOwn,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outgoing(id) => write!(f, "out-{id}"),
            Self::Incoming(id) => write!(f, "in-{id}"),
            Self::Kept(id) => write!(f, "keep-{id}"),
            Self::OutgoingOwn => f.write_str("own-out"),
            Self::IncomingOwn => f.write_str("own-in"),
        }
    }
}

impl Key {
    /// The reverse of its text; none for what an agent never puts there.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('-')?;
        let id = || Id::new(rest).ok();
        match (kind, rest) {
            ("own", "out") => Some(Self::OutgoingOwn),
            ("own", "in") => Some(Self::IncomingOwn),
            ("out", _) => id().map(Self::Outgoing),
            ("in", _) => id().map(Self::Incoming),
            ("keep", _) => id().map(Self::Kept),
            _ => None,
        }
    }
}

/// Where descriptors are safe.
pub trait Vault: fmt::Debug {
    /// Takes a duplicate. What had the name is dropped.
    ///
    /// # Errors
    /// The descriptor is not safe.
    fn put(&mut self, key: &Key, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Drops what has this name, if there is something.
    ///
    /// # Errors
    /// It may still be there.
    fn remove(&mut self, key: &Key) -> io::Result<()>;

    /// What is there now, with the names.
    ///
    /// # Errors
    /// Nobody answers.
    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>>;

    /// Retrieves a session that the previous kernel handed over, and keeps it under this name.
    ///
    /// # Errors
    /// As [`liveupdate::Device::retrieve`] does.
    fn retrieve(&mut self, key: &Key, session: &SessionName) -> liveupdate::Result<OwnedFd> {
        let fd = OwnedFd::from(open_device()?.retrieve(session)?);
        // If the vault is gone the session is still in our hands, which is better than nothing.
        self.put(key, fd.as_fd()).ok();
        Ok(fd)
    }
}

/// The service manager's store if it offers one, a holder process otherwise.
///
/// # Errors
/// The holder cannot be reached or started.
pub fn open(state: &Path, boot_id: &str) -> io::Result<Box<dyn Vault>> {
    match systemd::Store::inherited(boot_id)? {
        Some(store) => Ok(Box::new(store)),
        None => Ok(Box::new(holder::Holder::connect(state, None)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let id = || Id::new("a-b.c").unwrap();
        let all = [
            Key::Outgoing(id()),
            Key::Incoming(id()),
            Key::Kept(id()),
            Key::OutgoingOwn,
            Key::IncomingOwn,
        ];
        for key in all {
            let text = key.to_string();
            assert!(!text.contains(':'), "{text}");
            assert_eq!(Key::parse(&text), Some(key));
        }
        assert_eq!(Key::parse("stored"), None);
        assert_eq!(Key::parse("out-a/b"), None);
    }
}
