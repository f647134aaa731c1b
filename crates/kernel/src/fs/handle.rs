// SPDX-License-Identifier: GPL-2.0-only

//! Files whose only operations are ioctls: behind a misc device, or without any inode of their own.

use super::file::{File, Operations};
use crate::{
    alloc::{GFP_KERNEL, KBox, try_alloc},
    error::Result,
    host::machine,
    seq_file::SeqFile,
    sync::aref::ARef,
};
use core::{ffi::CStr, marker::PhantomData};
use std::sync::Arc;

/// What an open file does. The implementing type is the file's private data.
pub trait Handle: Sized + Send + Sync + 'static {
    /// Handles an ioctl. Called without any lock.
    ///
    /// # Errors
    ///
    /// The errno that the caller gets.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result;

    /// Writes what `/proc/PID/fdinfo/FD` shows beyond the usual.
    fn show_fdinfo(&self, _m: &SeqFile) {}
}

impl<T: Handle> Operations for T {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result {
        Handle::ioctl(self, cmd, arg)
    }

    fn show_fdinfo(&self, m: &SeqFile) {
        Handle::show_fdinfo(self, m);
    }
}

/// A [`Handle`] that a misc device makes when it is opened.
pub trait Open: Handle {
    /// Makes the private data of a file that is being opened.
    ///
    /// # Errors
    ///
    /// The errno that `open(2)` gives.
    fn open() -> Result<Self>;
}

/// Makes a file named `name`, without an inode of its own, that owns `handle`.
///
/// # Errors
///
/// `ENOMEM`; `handle` is dropped.
pub fn anon_file<T: Handle>(name: &CStr, handle: KBox<T>) -> Result<ARef<File>> {
    try_alloc(GFP_KERNEL)?;
    Ok(ARef::new(File {
        name: name.to_string_lossy().into_owned(),
        operations: handle.0,
    }))
}

/// A registered misc device. It stays for as long as the kernel runs.
pub struct Device<T> {
    name: &'static CStr,
    _handle: PhantomData<fn() -> T>,
}

impl<T: Open> Device<T> {
    /// Describes the device `name`.
    #[must_use]
    pub const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            _handle: PhantomData,
        }
    }

    /// Registers the device. To be called once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn register(&'static self) -> Result {
        try_alloc(GFP_KERNEL)?;
        let open = || T::open().and_then(|it| anon_file(self.name, KBox::new(it, GFP_KERNEL)?));
        let machine = machine::current();
        machine.devices.lock().insert(self.name, Arc::new(open));
        Ok(())
    }
}
