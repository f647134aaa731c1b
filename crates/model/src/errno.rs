// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Why an operation fails.

use core::fmt;

/// A positive errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        impl Errno {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(number) => write!(f, "Errno({number})"),
                }
            }
        }
    };
}

errnos! {
    ENOENT = 2, "Nothing has this name.";
    EIO = 5, "A handler that the session needs is missing.";
    ENOEXEC = 8, "The image would lose the sessions.";
    EBADF = 9, "The process has no such descriptor.";
    ENOMEM = 12, "There is no memory. Only machines in which allocations fail give this.";
    EFAULT = 14, "The caller's memory cannot be accessed.";
    EBUSY = 16, "Somebody else has it, or it is not ready.";
    EEXIST = 17, "The name is in use.";
    EINVAL = 22, "The session is not one on which this can be done.";
    EMFILE = 24, "There is no free descriptor.";
    EDOM = 33, "What callbacks refuse with: nothing else gives it.";
    ENODATA = 61, "There was no live update, or nothing of it is left.";
    ESHUTDOWN = 108, "The kernel is about to be replaced.";
}
