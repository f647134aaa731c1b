// SPDX-License-Identifier: GPL-2.0-only

//! Errors are errnos.

use crate::alloc::{AllocError, PushError};
use core::fmt;

/// A negative errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

/// A result whose error is an errno.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    /// The error for a negative errno.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub const fn from_errno(errno: i32) -> Self {
        assert!(-4095 <= errno && errno < 0, "not a negative errno");
        Self(errno)
    }

    /// The negative errno.
    #[must_use]
    pub const fn to_errno(self) -> i32 {
        self.0
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

impl<T> From<PushError<T>> for Error {
    fn from(_: PushError<T>) -> Self {
        code::EINVAL
    }
}

impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

macro_rules! codes {
    ($($name:ident = $errno:literal, $doc:literal;)*) => {
        /// The errors that have names.
        pub mod code {
            $(#[doc = $doc] pub const $name: super::Error = super::Error::from_errno(-$errno);)*
        }

        impl fmt::Debug for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $(errno if errno == -$errno => f.write_str(stringify!($name)),)*
                    errno => write!(f, "Error({errno})"),
                }
            }
        }
    };
}

codes! {
    ENOENT = 2, "No such file or directory.";
    EINTR = 4, "Interrupted system call.";
    EIO = 5, "I/O error.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "Argument list too long.";
    ENOEXEC = 8, "Exec format error.";
    EBADF = 9, "Bad file number.";
    ENOMEM = 12, "Out of memory.";
    EFAULT = 14, "Bad address.";
    EBUSY = 16, "Device or resource busy.";
    EEXIST = 17, "File exists.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "Invalid argument.";
    ENFILE = 23, "File table overflow.";
    EMFILE = 24, "Too many open files.";
    ENOTTY = 25, "Not a typewriter.";
    ENOSPC = 28, "No space left on device.";
}
