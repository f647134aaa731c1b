// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The device, from which sessions come.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    ioctl::{Opcode, Updater},
};

use crate::{
    Error, Operation, Result, SessionName,
    session::{Incoming, Outgoing, Session},
    uapi::{self, NamedSession},
};

/// Where the kernel's device stands.
///
/// ```
/// assert_eq!(liveupdate::DEVICE_PATH, "/dev/liveupdate");
/// ```
pub const DEVICE_PATH: &str = "/dev/liveupdate";

/// The open device. Drop it as soon as the sessions are there: nobody else can open it meanwhile.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use liveupdate::{Device, SessionName};
/// let device = Device::open()?;
/// let sessions = ["vm-1", "vm-2"].map(|it| device.create(&SessionName::new(it).expect("a good name")));
/// drop(device);
/// # drop(sessions);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Device(OwnedFd);

impl Device {
    /// Opens the device; the first open after a kexec reads what the previous kernel handed over.
    ///
    /// # Errors
    /// `EBUSY` another process has it open; `EIO` restoring failed; `ENOENT` the kernel has no live update or it is off;
    /// `EACCES` for others than root.
    ///
    /// ```no_run
    /// use std::{thread::sleep, time::Duration};
    /// use liveupdate::{Device, Errno};
    /// let device = loop {
    ///     match Device::open() {
    ///         // Whoever has it open closes it soon.
    ///         Err(error) if error.errno == Errno::BUSY => sleep(Duration::from_millis(10)),
    ///         other => break other?,
    ///     }
    /// };
    /// # drop(device);
    /// # Ok::<(), liveupdate::Error>(())
    /// ```
    pub fn open() -> Result<Self> {
        rustix::fs::open(DEVICE_PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .map_err(|errno| Error {
                operation: Operation::Open,
                object: DEVICE_PATH.into(),
                errno,
            })
    }

    /// Creates an empty session that will be handed to the next kernel.
    ///
    /// # Errors
    /// `EEXIST` the name is taken; `ENOSPC`, `ENOMEM`, `EMFILE` limits; `ESHUTDOWN` a kexec is under way.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use liveupdate::{Device, SessionName};
    /// // The device is closed again at the end of this line.
    /// let session = Device::open()?.create(&SessionName::new("vm-1")?)?;
    /// # drop(session);
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: &SessionName) -> Result<Session<Outgoing>> {
        self.named::<{ uapi::CREATE_SESSION }>(Operation::Create, name)
            .map(Session::from)
    }

    /// Checks out a session that the previous kernel handed over.
    ///
    /// # Errors
    /// `ENOENT` no such session, or it is finished; `EINVAL` it is checked out already; `EIO` it cannot be restored.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use liveupdate::{Device, Errno, SessionName};
    /// let session = match Device::open()?.retrieve(&SessionName::new("vm-1")?) {
    ///     Ok(session) => Some(session),
    ///     Err(error) if error.errno == Errno::NOENT => None, // there was no update: start afresh
    ///     Err(error) => return Err(error.into()),
    /// };
    /// # drop(session);
    /// # Ok(()) }
    /// ```
    pub fn retrieve(&self, name: &SessionName) -> Result<Session<Incoming>> {
        self.named::<{ uapi::RETRIEVE_SESSION }>(Operation::RetrieveSession, name)
            .map(Session::from)
    }

    fn named<const COMMAND: Opcode>(
        &self,
        operation: Operation,
        name: &SessionName,
    ) -> Result<OwnedFd> {
        let mut argument = NamedSession {
            size: uapi::size_field::<NamedSession>(),
            fd: -1,
            name: name.to_field(),
        };
        // SAFETY: both commands read and write one `NamedSession`, whose layout is the kernel's.
        unsafe { rustix::ioctl::ioctl(&self.0, Updater::<COMMAND, _>::new(&mut argument)) }
            .map_err(|errno| Error {
                operation,
                object: name.to_string(),
                errno,
            })?;
        // SAFETY: on success the kernel has stored a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
