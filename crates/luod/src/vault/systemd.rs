// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The descriptor store of systemd (`FileDescriptorStoreMax=` in the unit). It carries its descriptors over a kexec itself.

use std::{
    collections::BTreeMap,
    env, io,
    os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use sd_notify::NotifyState;

use super::{Key, Vault};

/// Set by systemd for services whose unit has a descriptor store, since version 254.
const STORE_SIZE: &str = "FDSTORE";

/// The store, and what it has.
#[derive(Debug)]
pub(super) struct Store {
    fds: BTreeMap<String, OwnedFd>,
}

impl Store {
    /// The store of the service that this process is, with what it had when the service was started; none if there is none.
    pub(super) fn inherited() -> io::Result<Option<Self>> {
        if env::var_os("NOTIFY_SOCKET").is_none() || env::var_os(STORE_SIZE).is_none() {
            return Ok(None);
        }
        let mut fds = BTreeMap::new();
        for (fd, name) in sd_notify::listen_fds_with_names()? {
            // SAFETY: systemd passed this number to this process alone, and it is taken here only, once, at the start.
            fds.insert(name, unsafe { OwnedFd::from_raw_fd(fd) });
        }
        Ok(Some(Self { fds }))
    }
}

impl Vault for Store {
    fn put(&mut self, key: &Key, fd: BorrowedFd<'_>) -> io::Result<()> {
        let name = key.to_string();
        if self.fds.contains_key(&name) {
            self.remove(key)?;
        }
        let duplicate = fd.try_clone_to_owned()?;
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[fd])?;
        self.fds.insert(name, duplicate);
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> io::Result<()> {
        let name = key.to_string();
        if self.fds.remove(&name).is_some() {
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)])?;
        }
        Ok(())
    }

    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>> {
        let known = self
            .fds
            .iter()
            .filter_map(|(name, fd)| Some((Key::parse(name)?, fd)));
        known
            .map(|(key, fd)| Ok((key, fd.as_fd().try_clone_to_owned()?)))
            .collect()
    }
}
