// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The descriptor store of systemd (`FileDescriptorStoreMax=` in the unit).
//!
//! From version 261 on systemd carries it over a kexec: it finds the sessions in it, and retrieves each in the next kernel before
//! the agent is started. What went out has come in then, under the name that it had. It cannot get another one: a descriptor
//! that is in the store already is not added once more, and between its removal and its return nothing would keep the session but
//! the agent's life. So the name of a session that goes out says which kernel it goes out of.

use std::{
    collections::BTreeMap,
    env, io,
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd},
};

use sd_notify::NotifyState;

use super::{Key, Vault};

/// Set by systemd for services whose unit has a descriptor store, since version 254.
const STORE_SIZE: &str = "FDSTORE";
/// Between a key and a boot; no key has it.
const OF_BOOT: char = '@';
/// So much of the boot's id tells it from the one before.
const MARK_BYTES: usize = 8;
/// systemd hands all names over in one variable of the environment, for which Linux has 128 KiB. With more an agent could not be
/// started any more.
const NAMES_BYTES: usize = 127 << 10;

/// The store, and what it has.
#[derive(Debug)]
pub(super) struct Store {
    /// What marks the names of this boot.
    mark: String,
    stored: BTreeMap<Key, Stored>,
}

#[derive(Debug)]
struct Stored {
    /// As systemd knows it.
    name: String,
    fd: OwnedFd,
}

impl Store {
    /// The store of the service that this process is, with what it had when the service was started; none if there is none.
    pub(super) fn inherited(boot_id: &str) -> io::Result<Option<Self>> {
        if env::var_os("NOTIFY_SOCKET").is_none() || env::var_os(STORE_SIZE).is_none() {
            return Ok(None);
        }
        let mark: String = boot_id.chars().take(MARK_BYTES).collect();
        let mut stored = BTreeMap::new();
        for (fd, name) in sd_notify::listen_fds_with_names()? {
            // SAFETY: systemd passed this number to this process alone, and it is taken here only, once, at the start.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            if let Some(key) = key(&name, &mark) {
                stored.insert(key, Stored { name, fd });
            }
        }
        Ok(Some(Self { mark, stored }))
    }
}

impl Vault for Store {
    fn put(&mut self, key: &Key, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.remove(key)?;
        let name = name(key, &self.mark);
        let names = self.stored.values().map(|it| it.name.as_str());
        if !fit(names.chain([name.as_str()])) {
            return Err(io::Error::other("systemd cannot hand over so many names"));
        }
        let duplicate = fd.try_clone_to_owned()?;
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[fd])?;
        let stored = Stored {
            name,
            fd: duplicate,
        };
        self.stored.insert(key.clone(), stored);
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> io::Result<()> {
        if let Some(Stored { name, .. }) = self.stored.remove(key) {
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)])?;
        }
        Ok(())
    }

    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>> {
        let duplicate = |(key, it): (&Key, &Stored)| Ok((key.clone(), it.fd.try_clone()?));
        self.stored.iter().map(duplicate).collect()
    }
}

/// Whether an agent that starts again can be told of them.
fn fit<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    names.map(|it| it.len() + 1).sum::<usize>() <= NAMES_BYTES
}

/// What systemd is to call something in this boot.
fn name(key: &Key, mark: &str) -> String {
    match key {
        Key::Outgoing(_) | Key::OutgoingOwn => format!("{key}{OF_BOOT}{mark}"),
        Key::Incoming(_) | Key::IncomingOwn | Key::Kept(_) => key.to_string(),
    }
}

/// What something is in this boot.
fn key(name: &str, mark: &str) -> Option<Key> {
    let Some((text, of_boot)) = name.split_once(OF_BOOT) else {
        return Key::parse(name);
    };
    let key = Key::parse(text)?;
    Some(match key {
        Key::Outgoing(id) if of_boot != mark => Key::Incoming(id),
        Key::OutgoingOwn if of_boot != mark => Key::IncomingOwn,
        key => key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Id;

    #[test]
    fn what_has_gone_out_of_one_kernel_has_come_into_the_next() {
        let id = || Id::new("a-b.c").unwrap();
        let (old, new) = ("0f2caa31", "77b103f4");
        let both = [
            (Key::Outgoing(id()), Key::Incoming(id())),
            (Key::OutgoingOwn, Key::IncomingOwn),
            (Key::Incoming(id()), Key::Incoming(id())),
            (Key::Kept(id()), Key::Kept(id())),
        ];
        for (before, after) in both {
            let name = name(&before, old);
            assert_eq!(key(&name, old), Some(before), "{name}");
            assert_eq!(key(&name, new), Some(after), "{name}");
        }
        assert_eq!(key("stored", new), None);
    }

    #[test]
    fn systemd_takes_every_name() {
        let longest = Key::Outgoing(Id::new("x".repeat(48)).unwrap());
        let name = name(&longest, "01234567");
        // As fdname_is_valid() has it.
        assert!(name.len() < 255 && !name.contains(':'), "{name}");
        assert!(name.bytes().all(|it| it.is_ascii_graphic()), "{name}");
    }

    /// With more Linux refuses to execute luod, and nobody can claim anything any more.
    #[test]
    fn there_are_never_more_names_than_an_environment_takes() {
        let names = |count: usize| -> Vec<_> {
            let id = |number| Id::new(format!("{number:0>48}")).unwrap();
            let name = |number| name(&Key::Outgoing(id(number)), "01234567");
            (0..count).map(name).collect()
        };
        let fit = |count| fit(names(count).iter().map(String::as_str));
        let starts = |count| {
            let mut program = std::process::Command::new("/bin/true");
            program.env("LISTEN_FDNAMES", names(count).join(":"));
            program.status().is_ok_and(|it| it.success())
        };
        let most = NAMES_BYTES / (names(1)[0].len() + 1);
        assert!(most > 2000 && fit(most) && !fit(most + 1), "{most}");
        assert!(starts(most));
        assert!(!starts(most + most / 50), "there is room for more");
    }
}
