// SPDX-License-Identifier: GPL-2.0-only

//! Memory that can be read in debugfs. Nothing depends on it: what cannot be shown is not.

use crate::{
    bindings,
    prelude::*,
    str::{CStr, CStrExt as _},
};
use core::ptr::null_mut;

/// A folder, for as long as the kernel runs.
#[derive(Clone, Copy)]
pub struct Folder(*mut bindings::dentry);

// SAFETY: debugfs has locks of its own.
unsafe impl Send for Folder {}
// SAFETY: As above.
unsafe impl Sync for Folder {}

impl Folder {
    /// A folder at the top.
    pub fn new(name: &CStr) -> Self {
        Self(null_mut()).folder(name)
    }

    /// A folder in this one.
    pub fn folder(self, name: &CStr) -> Self {
        // SAFETY: Any result of that function is a parent, errors included.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.0) })
    }
}

/// A file whose contents are some memory.
///
/// # Invariants
///
/// The file is there, and refers to the wrapper.
pub struct Blob {
    /// The memory, if it is the file's own: only kept.
    own: KVVec<u8>,
    wrapper: KBox<bindings::debugfs_blob_wrapper>,
    file: *mut bindings::dentry,
}

// SAFETY: As for `Folder`; the memory is not used from here.
unsafe impl Send for Blob {}
// SAFETY: As above.
unsafe impl Sync for Blob {}

impl Blob {
    /// Shows some memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. What debugfs gives is no error.
    ///
    /// # Safety
    ///
    /// The memory has to be there until the value is gone. It may change.
    pub unsafe fn new(folder: Folder, name: &CStr, data: *mut u8, size: usize) -> Result<Self> {
        let wrapper = bindings::debugfs_blob_wrapper {
            data: data.cast(),
            size,
        };
        let mut wrapper = KBox::new(wrapper, GFP_KERNEL)?;
        let name = name.as_char_ptr();
        // SAFETY: The wrapper and the memory are there until the file is removed.
        let file = unsafe { bindings::debugfs_create_blob(name, 0o400, folder.0, &mut *wrapper) };
        let own = KVVec::new();
        Ok(Self { own, wrapper, file })
    }

    /// Shows bytes that do not change.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn of(folder: Folder, name: &CStr, mut bytes: KVVec<u8>) -> Result<Self> {
        // SAFETY: The bytes stay where they are when they go into the value, and nobody changes them.
        let mut blob = unsafe { Self::new(folder, name, bytes.as_mut_ptr(), bytes.len()) }?;
        blob.own = bytes;
        Ok(blob)
    }

    /// Whether it shows the memory at an address.
    pub fn shows(&self, data: *mut u8) -> bool {
        self.wrapper.data == data.cast()
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: It came from debugfs; errors are ignored there.
        unsafe { bindings::debugfs_remove(self.file) };
    }
}
