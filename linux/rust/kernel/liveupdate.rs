// SPDX-License-Identifier: GPL-2.0-only

//! File handlers and file-lifecycle-bound data (FLB) that other parts of the kernel register with
//! the Live Update Orchestrator.
//!
//! [`FileHandler`] and [`Flb`] name a registered structure, and can be asked what is asked of all.
//! [`FileHandler::get`] and [`Flb::get`] give a value that also keeps the owning module loaded;
//! the callbacks that do work are methods of that.
//!
//! C header: [`include/linux/liveupdate.h`](srctree/include/linux/liveupdate.h)

mod flb;
mod handler;
pub mod ops;

pub use self::{
    flb::{ActiveFlb, Flb, FlbObject},
    handler::{ActiveHandler, Carried, FileHandler, Kept, Retrieval, Saved, Unretrieved},
};

use crate::{
    bindings,
    fs::{File, LocalFile},
    prelude::*,
    sync::aref::ARef,
};

/// The length of a compatibility string, NUL included.
pub const COMPATIBLE_LEN: usize = bindings::LIVEUPDATE_HNDL_COMPAT_LENGTH as usize;

/// Looks up a descriptor of the calling task.
///
/// Context: inside a system call of the task, which must not have the file's position locked; an
/// ioctl does not.
///
/// # Errors
///
/// `EBADF` if there is no such descriptor.
pub fn fget(fd: i32) -> Result<ARef<File>> {
    let file = LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)?;
    // SAFETY: By the context rule no `fdget_pos()` of this task is active.
    Ok(unsafe { LocalFile::assume_no_fdget_pos(file) })
}

/// The size of a file in bytes, as `fstat` gives it.
pub fn file_size(file: &File) -> u64 {
    // SAFETY: The reference keeps file and inode alive.
    let size = unsafe { bindings::liveupdate_file_size(file.as_ptr()) };
    u64::try_from(size).unwrap_or(0)
}

/// Keeps a module loaded.
struct ModuleRef(*mut bindings::module);

// SAFETY: Module references can be taken and dropped from any task.
unsafe impl Send for ModuleRef {}
// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// # Safety
    ///
    /// `owner` must be null or point to a module that is not freed during the call.
    unsafe fn get(owner: *mut bindings::module) -> Option<Self> {
        // SAFETY: The caller's promise.
        unsafe { bindings::liveupdate_module_get(owner) }.then_some(Self(owner))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: This value stands for one reference.
        unsafe { bindings::liveupdate_module_put(self.0) };
    }
}

/// Copies a string up to its NUL, and fills up with zeroes.
fn padded(from: &[crate::ffi::c_char; COMPATIBLE_LEN]) -> [u8; COMPATIBLE_LEN] {
    let mut to = [0; COMPATIBLE_LEN];
    for (to, from) in to[..COMPATIBLE_LEN - 1].iter_mut().zip(from) {
        if *from == 0 {
            break;
        }
        *to = *from as u8;
    }
    to
}

/// A string, with zeroes behind it.
const fn padded_const<const LEN: usize>(from: &CStr) -> [u8; LEN] {
    let from = from.to_bytes();
    assert!(from.len() < LEN, "a compatibility string is too long");
    let mut to = [0; LEN];
    let mut at = 0;
    while at < from.len() {
        to[at] = from[at];
        at += 1;
    }
    to
}
