// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The structures and numbers of `include/uapi/linux/liveupdate.h`, for those who make the calls themselves.
//!
//! Each structure begins with its own size, so that later kernels can add fields. Each command takes a pointer to one, and
//! answers in place. [`Device`](crate::Device) and [`Session`](crate::Session) are the same, safe.
//!
//! ```
//! use liveupdate::uapi::{self, TokenFd};
//! let argument = TokenFd { size: uapi::size_field::<TokenFd>(), fd: 3, token: 0x10 };
//! assert_eq!((argument.size, uapi::PRESERVE_FD), (16, 0xBA40));
//! ```

use rustix::ioctl::{Opcode, opcode};

/// The ioctl type of every command.
pub const IOCTL_TYPE: u8 = 0xBA;
/// Bytes of a session's name, the terminating NUL included.
pub const SESSION_NAME_LENGTH: usize = 64;

/// `LIVEUPDATE_IOCTL_CREATE_SESSION`, on the device; takes [`NamedSession`].
pub const CREATE_SESSION: Opcode = opcode::none(IOCTL_TYPE, 0x00);
/// `LIVEUPDATE_IOCTL_RETRIEVE_SESSION`, on the device; takes [`NamedSession`].
pub const RETRIEVE_SESSION: Opcode = opcode::none(IOCTL_TYPE, 0x01);
/// `LIVEUPDATE_SESSION_PRESERVE_FD`, on an outgoing session; takes [`TokenFd`].
pub const PRESERVE_FD: Opcode = opcode::none(IOCTL_TYPE, 0x40);
/// `LIVEUPDATE_SESSION_RETRIEVE_FD`, on an incoming session; takes [`TokenFd`].
pub const RETRIEVE_FD: Opcode = opcode::none(IOCTL_TYPE, 0x41);
/// `LIVEUPDATE_SESSION_FINISH`, on an incoming session; takes [`Finish`].
pub const FINISH: Opcode = opcode::none(IOCTL_TYPE, 0x42);
/// `LIVEUPDATE_SESSION_GET_NAME`, on any session; takes [`GetName`].
pub const GET_NAME: Opcode = opcode::none(IOCTL_TYPE, 0x43);

/// Argument of [`CREATE_SESSION`] and [`RETRIEVE_SESSION`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct NamedSession {
    /// `size_of::<Self>()`.
    pub size: u32,
    /// Out: the session's descriptor.
    pub fd: i32,
    /// NUL-terminated.
    pub name: [u8; SESSION_NAME_LENGTH],
}

/// Argument of [`PRESERVE_FD`] (`fd` goes in) and [`RETRIEVE_FD`] (`fd` comes out).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct TokenFd {
    /// `size_of::<Self>()`.
    pub size: u32,
    /// The file to preserve, or the file retrieved.
    pub fd: i32,
    /// The file's key within its session.
    pub token: u64,
}

/// Argument of [`FINISH`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Finish {
    /// `size_of::<Self>()`.
    pub size: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Argument of [`GET_NAME`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GetName {
    /// `size_of::<Self>()`.
    pub size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Out: NUL-terminated.
    pub name: [u8; SESSION_NAME_LENGTH],
}

/// The value of a structure's `size` field.
///
/// ```
/// use liveupdate::uapi::{NamedSession, size_field};
/// assert_eq!(size_field::<NamedSession>(), 72);
/// ```
pub const fn size_field<T>() -> u32 {
    let size = size_of::<T>();
    assert!(size <= u32::MAX as usize);
    size as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_have_the_kernels_layout() {
        assert_eq!(
            (size_of::<NamedSession>(), offset_of!(NamedSession, name)),
            (72, 8)
        );
        assert_eq!((size_of::<TokenFd>(), offset_of!(TokenFd, token)), (16, 8));
        assert_eq!((size_of::<Finish>(), offset_of!(Finish, reserved)), (8, 4));
        assert_eq!((size_of::<GetName>(), offset_of!(GetName, name)), (72, 8));
        assert_eq!(offset_of!(NamedSession, fd), 4);
        assert_eq!(offset_of!(TokenFd, fd), 4);
    }

    #[test]
    fn commands_have_the_kernels_numbers() {
        assert_eq!([CREATE_SESSION, RETRIEVE_SESSION], [0xBA00, 0xBA01]);
        assert_eq!(
            [PRESERVE_FD, RETRIEVE_FD, FINISH, GET_NAME],
            [0xBA40, 0xBA41, 0xBA42, 0xBA43]
        );
    }
}
