// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sessions: the groups of files that go from one kernel to the next.

use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::ioctl::{Opcode, Updater};

use crate::{
    Error, Operation, Result, SessionName, Token,
    uapi::{self, Finish, GetName, TokenFd},
};

/// Whether a session goes to the next kernel or came from the previous one. The methods of the other direction are not there:
///
/// ```compile_fail
/// fn wrong(session: &liveupdate::Session<liveupdate::Incoming>) {
///     session.preserve(liveupdate::Token(1), std::io::stdin()).ok();
/// }
/// ```
pub trait Direction: sealed::Sealed {}

/// A session to be handed to the next kernel.
#[derive(Debug)]
pub enum Outgoing {}

/// A session that the previous kernel handed over.
#[derive(Debug)]
pub enum Incoming {}

impl Direction for Outgoing {}
impl Direction for Incoming {}

/// An open session. Closing an outgoing one unpreserves its files; it has to stay open, in some process, until the kexec.
///
/// Closing an incoming one before [`finish`](Session::finish) gives it back on our kernel; upstream's destroys what was not
/// retrieved from it.
///
/// A duplicate in another process keeps it open:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::os::fd::{AsFd, OwnedFd};
/// use liveupdate::{Device, Outgoing, Session, SessionName};
/// let session = Device::open()?.create(&SessionName::new("vm-1")?)?;
/// let for_the_keeper: OwnedFd = session.as_fd().try_clone_to_owned()?;
///
/// // There, or when it comes back from a descriptor store:
/// let session = Session::<Outgoing>::from(for_the_keeper);
/// assert_eq!(session.name()?.as_str(), "vm-1");
/// let to_store = OwnedFd::from(session);
/// # drop(to_store);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Session<D: Direction> {
    fd: OwnedFd,
    direction: PhantomData<D>,
}

impl Session<Outgoing> {
    /// Adds `file` under `token`.
    ///
    /// # Errors
    /// `EEXIST` the token is in use; `EBUSY` the file is preserved already; `ENOENT` no handler for such a file;
    /// `ENXIO` it lies in memory that the next kernel boots without; `ENOMEM`, `ENOSPC`; what the handler says otherwise.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use liveupdate::{Device, Memory, SessionName, Token};
    /// let memory = Memory::create("guest", 64 << 20)?;
    /// let session = Device::open()?.create(&SessionName::new("vm-1")?)?;
    /// session.preserve(Token(0), &memory)?;
    /// # Ok(()) }
    /// ```
    pub fn preserve(&self, token: Token, file: impl AsFd) -> Result<()> {
        let fd = file.as_fd().as_raw_fd();
        self.token_call::<{ uapi::PRESERVE_FD }>(Operation::Preserve, token, fd)
            .map(drop)
    }
}

impl Session<Incoming> {
    /// Gets the file preserved under `token`; a repeat gives a further descriptor of the same file.
    ///
    /// # Errors
    /// `ENOENT` no such token; `EMFILE`; what the handler says otherwise.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use liveupdate::{Device, Memory, SessionName, Token};
    /// let session = Device::open()?.retrieve(&SessionName::new("vm-1")?)?;
    /// let memory = Memory::from_file(session.retrieve(Token(0))?)?;
    /// # drop(memory);
    /// # Ok(()) }
    /// ```
    pub fn retrieve(&self, token: Token) -> Result<OwnedFd> {
        let fd = self.token_call::<{ uapi::RETRIEVE_FD }>(Operation::RetrieveFile, token, -1)?;
        // SAFETY: on success the kernel has stored a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Ends the session: files not retrieved are given up, retrieved ones are ordinary files from here on. A repeat
    /// succeeds.
    ///
    /// # Errors
    /// `EBUSY` a file's handler is not ready for it.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use liveupdate::{Device, SessionName, Token};
    /// let session = Device::open()?.retrieve(&SessionName::new("vm-1")?)?;
    /// let memory = session.retrieve(Token(0))?;
    /// session.finish()?; // the last step: now there is nothing to go back to
    /// # drop(memory);
    /// # Ok(()) }
    /// ```
    pub fn finish(&self) -> Result<()> {
        let mut argument = Finish {
            size: uapi::size_field::<Finish>(),
            reserved: 0,
        };
        // SAFETY: the command reads and writes one `Finish`, whose layout is the kernel's.
        unsafe {
            rustix::ioctl::ioctl(&self.fd, Updater::<{ uapi::FINISH }, _>::new(&mut argument))
        }
        .map_err(|errno| self.error(Operation::Finish, None, errno))
    }
}

impl<D: Direction> Session<D> {
    /// The session's name, as the kernel has it.
    ///
    /// # Errors
    /// None that a session of this type gives; `ENOTTY` or `EINVAL` when the descriptor is something else.
    ///
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use liveupdate::{Incoming, Operation, Session};
    /// # fn main() -> std::io::Result<()> {
    /// // From a descriptor store, for example; this one holds no session.
    /// let stored = OwnedFd::from(std::fs::File::open("/dev/null")?);
    /// let error = Session::<Incoming>::from(stored).name().unwrap_err();
    /// assert_eq!(error.operation, Operation::GetName);
    /// # Ok(()) }
    /// ```
    pub fn name(&self) -> Result<SessionName> {
        let object = || format!("descriptor {}", self.fd.as_raw_fd());
        let error = |errno| Error {
            operation: Operation::GetName,
            object: object(),
            errno,
        };
        let mut argument = GetName {
            size: uapi::size_field::<GetName>(),
            reserved: 0,
            name: [0; _],
        };
        // SAFETY: the command reads and writes one `GetName`, whose layout is the kernel's.
        unsafe {
            rustix::ioctl::ioctl(
                &self.fd,
                Updater::<{ uapi::GET_NAME }, _>::new(&mut argument),
            )
        }
        .map_err(error)?;
        let name = argument
            .name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        SessionName::new(String::from_utf8_lossy(name)).map_err(|_| error(rustix::io::Errno::ILSEQ))
    }

    fn token_call<const COMMAND: Opcode>(
        &self,
        operation: Operation,
        token: Token,
        fd: i32,
    ) -> Result<i32> {
        let mut argument = TokenFd {
            size: uapi::size_field::<TokenFd>(),
            fd,
            token: token.0,
        };
        // SAFETY: both commands read and write one `TokenFd`, whose layout is the kernel's.
        unsafe { rustix::ioctl::ioctl(&self.fd, Updater::<COMMAND, _>::new(&mut argument)) }
            .map_err(|errno| self.error(operation, Some(token), errno))?;
        Ok(argument.fd)
    }

    fn error(&self, operation: Operation, token: Option<Token>, errno: rustix::io::Errno) -> Error {
        let session = self
            .name()
            .map_or_else(|error| error.object, |name| name.to_string());
        let object = match token {
            Some(token) => format!("{token} of session {session}"),
            None => format!("session {session}"),
        };
        Error {
            operation,
            object,
            errno,
        }
    }
}

/// For descriptors kept elsewhere, such as a service manager's descriptor store. The direction is the caller's knowledge:
/// the kernel answers `EINVAL` to calls of the other direction.
impl<D: Direction> From<OwnedFd> for Session<D> {
    fn from(fd: OwnedFd) -> Self {
        Self {
            fd,
            direction: PhantomData,
        }
    }
}

impl<D: Direction> From<Session<D>> for OwnedFd {
    fn from(session: Session<D>) -> Self {
        session.fd
    }
}

impl<D: Direction> AsFd for Session<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Outgoing {}
    impl Sealed for super::Incoming {}
}
