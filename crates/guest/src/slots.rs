// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent's descriptors by name, and its way to say what failed.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    process::Child,
};

use luo_guest::proto::Failure;
use rustix::io::Errno;

use crate::actor::Actor;

/// What the agent holds for the host.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    files: HashMap<String, OwnedFd>,
    groups: HashMap<String, Vec<OwnedFd>>,
    pub children: HashMap<u32, Child>,
    pub actors: HashMap<u8, Actor>,
}

impl Slots {
    pub(crate) fn get(&self, slot: &str) -> Result<BorrowedFd<'_>, Failure> {
        self.files
            .get(slot)
            .map(OwnedFd::as_fd)
            .ok_or_else(|| other(format!("no slot \"{slot}\"")))
    }

    pub(crate) fn put(&mut self, slot: &str, fd: OwnedFd) {
        self.files.insert(slot.to_owned(), fd);
    }

    pub(crate) fn close(&mut self, slot: &str) -> Result<(), Failure> {
        self.files
            .remove(slot)
            .map(drop)
            .ok_or_else(|| other(format!("no slot \"{slot}\" to close")))
    }

    pub(crate) fn group(&self, group: &str) -> Result<&[OwnedFd], Failure> {
        self.groups
            .get(group)
            .map(Vec::as_slice)
            .ok_or_else(|| other(format!("no group \"{group}\"")))
    }

    pub(crate) fn put_group(&mut self, group: &str, fds: Vec<OwnedFd>) {
        self.groups.insert(group.to_owned(), fds);
    }

    pub(crate) fn take_group(&mut self, group: &str) -> Result<Vec<OwnedFd>, Failure> {
        self.groups
            .remove(group)
            .ok_or_else(|| other(format!("no group \"{group}\"")))
    }
}

/// A failure that is no system call's.
pub(crate) fn other(message: impl Into<String>) -> Failure {
    Failure {
        errno: 0,
        message: message.into(),
    }
}

/// Names what was tried when a system call failed.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T> Tried<T> for Result<T, Errno> {
    fn tried(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(io::Error::from).tried(what)
    }
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            errno: error.raw_os_error().unwrap_or(0),
            message: format!("{}: {error}", what.into()),
        })
    }
}
