// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Failed calls: what was tried, on what, and the kernel's answer.

use std::fmt;

use rustix::io::Errno;

/// The result of a call.
///
/// ```no_run
/// use liveupdate::{Device, Result, Session, SessionName, Outgoing};
/// fn session(name: &SessionName) -> Result<Session<Outgoing>> {
///     Device::open()?.create(name)
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// A call the kernel refused.
///
/// ```
/// use liveupdate::{Errno, Error, Operation};
/// let error = Error {
///     operation: Operation::Preserve,
///     object: "0x1 of session vm-1".into(),
///     errno: Errno::EXIST,
/// };
/// assert!(error.to_string().starts_with("cannot preserve file 0x1 of session vm-1: "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} {object}: {errno}{}", hint(*operation, *errno))]
pub struct Error {
    /// What was tried.
    pub operation: Operation,
    /// The device, session or file it was tried on.
    pub object: String,
    /// The kernel's answer. The message has it; to be a source as well, it would be printed twice.
    pub errno: Errno,
}

/// The calls of the interface.
///
/// ```
/// use liveupdate::{Memory, Operation};
/// let error = Memory::create("a name with a \0", 4096).unwrap_err();
/// assert_eq!(error.operation, Operation::CreateMemory);
/// assert_eq!(Operation::Preserve.to_string(), "preserve file");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening the device.
    Open,
    /// `CREATE_SESSION`.
    Create,
    /// `RETRIEVE_SESSION`.
    RetrieveSession,
    /// `PRESERVE_FD`.
    Preserve,
    /// `RETRIEVE_FD`.
    RetrieveFile,
    /// `FINISH`.
    Finish,
    /// `GET_NAME`.
    GetName,
    /// Making a memfd.
    CreateMemory,
    /// Mapping a memfd.
    MapMemory,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create session",
            Self::RetrieveSession => "retrieve session",
            Self::Preserve => "preserve file",
            Self::RetrieveFile => "retrieve file",
            Self::Finish => "finish",
            Self::GetName => "read the name of",
            Self::CreateMemory => "create memory",
            Self::MapMemory => "map memory of",
        })
    }
}

fn hint(operation: Operation, errno: Errno) -> &'static str {
    match (operation, errno) {
        (Operation::Open, Errno::BUSY) => {
            " (another process has the device open; try again when it has closed it)"
        }
        (Operation::Open, Errno::NOENT) => {
            " (boot with liveupdate=on kho=on; the kernel needs CONFIG_LIVEUPDATE)"
        }
        (Operation::Open, Errno::IO) => {
            " (what the previous kernel handed over cannot be restored; the kernel log says why, a reboot clears it)"
        }
        (Operation::Preserve, Errno::NOENT) => {
            " (no handler in this kernel preserves files of this kind)"
        }
        (Operation::MapMemory, Errno::PERM) => {
            " (it is sealed against writing; its content can still be read from the file)"
        }
        (Operation::MapMemory, Errno::INVAL) => " (it is empty)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_object_and_the_way_out() {
        let error = Error {
            operation: Operation::Open,
            object: "/dev/liveupdate".into(),
            errno: Errno::BUSY,
        };
        let text = error.to_string();
        assert!(text.starts_with("cannot open /dev/liveupdate: "), "{text}");
        assert!(text.contains("another process"), "{text}");
    }
}
