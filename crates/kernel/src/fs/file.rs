// SPDX-License-Identifier: GPL-2.0-only

//! Open files, and the way to a descriptor.

use crate::{
    backend,
    error::Result,
    host::{fd, machine},
    seq_file::SeqFile,
    sync::aref::ARef,
};
use core::any::Any;

/// Flags of descriptors.
pub mod flags {
    /// Closed on exec.
    pub const O_CLOEXEC: u32 = 0o2_000_000;
}

/// What a file does: the table of operations with the private data.
pub(crate) trait Operations: Any + Send + Sync {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result;
    fn show_fdinfo(&self, m: &SeqFile);
}

/// An open file. With the last reference its private data is dropped.
pub struct File {
    pub(crate) name: String,
    pub(crate) operations: Box<dyn Operations>,
}

impl File {
    /// The private data, if it is a `T`.
    #[must_use]
    pub fn private<T: 'static>(&self) -> Option<&T> {
        let operations: &dyn Any = &*self.operations;
        operations.downcast_ref()
    }

    /// What tells this file from all others.
    #[must_use]
    pub fn addr(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// The number of a descriptor that is not installed yet. Dropping it frees the number.
pub struct FileDescriptorReservation(fd::Number);

impl FileDescriptorReservation {
    /// Reserves the lowest free number of the calling task.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn get_unused_fd_flags(flags: u32) -> Result<Self> {
        let number = machine::current().fds.lock().reserve(flags)?;
        Ok(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn reserved_fd(&self) -> u32 {
        self.0.fd
    }

    /// Makes the descriptor refer to `file`.
    pub fn fd_install(self, file: ARef<File>) {
        backend::point();
        machine::current().fds.lock().install(self.0, file);
        core::mem::forget(self);
    }
}

impl Drop for FileDescriptorReservation {
    fn drop(&mut self) {
        machine::current().fds.lock().unreserve(self.0);
    }
}
