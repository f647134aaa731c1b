// SPDX-License-Identifier: GPL-2.0-only

//! The ioctls as `include/uapi/linux/liveupdate.h` describes them, written down a second time so
//! that a mistake in LUO's own description shows.

use kernel::{
    host::{self, user},
    prelude::*,
};

/// A command: makes a session; structure: [`with_name`].
pub const CREATE_SESSION: u32 = 0xBA00;
/// A command: fetches a session; structure: [`with_name`].
pub const RETRIEVE_SESSION: u32 = 0xBA01;
/// A command: preserves a file; structure: [`with_token`].
pub const PRESERVE_FD: u32 = 0xBA40;
/// A command: fetches a file; structure: [`with_token`].
pub const RETRIEVE_FD: u32 = 0xBA41;
/// A command: gives up what the session still holds.
pub const FINISH: u32 = 0xBA42;
/// A command: tells the session's name.
pub const GET_NAME: u32 = 0xBA43;

/// A command and its structure in user memory.
pub struct Call {
    /// The command.
    pub cmd: u32,
    /// Where the structure stands.
    pub addr: usize,
}

impl Call {
    /// With a structure of these bytes.
    pub fn new(cmd: u32, bytes: &[u8]) -> Self {
        let addr = user::map(bytes);
        Self { cmd, addr }
    }

    /// `CREATE_SESSION`.
    pub fn create(name: &str) -> Self {
        Self::new(CREATE_SESSION, &with_name(name))
    }

    /// `RETRIEVE_SESSION`.
    pub fn retrieve(name: &str) -> Self {
        Self::new(RETRIEVE_SESSION, &with_name(name))
    }

    /// `PRESERVE_FD`.
    pub fn preserve_fd(fd: i32, token: u64) -> Self {
        Self::new(PRESERVE_FD, &with_token(fd, token))
    }

    /// `RETRIEVE_FD`.
    pub fn retrieve_fd(token: u64) -> Self {
        Self::new(RETRIEVE_FD, &with_token(-1, token))
    }

    /// FINISH.
    pub fn finish() -> Self {
        Self::new(FINISH, &[8, 0, 0, 0, 0, 0, 0, 0])
    }

    /// `GET_NAME`.
    pub fn get_name() -> Self {
        let mut bytes = [0; 72];
        bytes[0] = 72;
        Self::new(GET_NAME, &bytes)
    }

    /// Calls it.
    pub fn on(&self, fd: i32) -> Result {
        host::ioctl(fd, self.cmd, self.addr)
    }

    /// The structure as it is now.
    pub fn bytes(&self) -> Vec<u8> {
        user::contents(self.addr)
    }

    /// The descriptor that the call has given.
    pub fn fd(&self) -> i32 {
        i32::from_le_bytes(self.bytes()[4..8].try_into().unwrap())
    }

    /// From now on the kernel cannot write its answer.
    pub fn unwritable(self) -> Self {
        user::write_protect(self.addr);
        self
    }
}

/// `{u32 size; s32 fd; u8 name[64]}`.
pub fn with_name(name: &str) -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[0] = 72;
    bytes[4..8].fill(0xff);
    bytes[8..][..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// `{u32 size; s32 fd; u64 token}`.
pub fn with_token(fd: i32, token: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = 16;
    bytes[4..8].copy_from_slice(&fd.to_le_bytes());
    bytes[8..].copy_from_slice(&token.to_le_bytes());
    bytes
}
