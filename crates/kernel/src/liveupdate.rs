// SPDX-License-Identifier: GPL-2.0-only

//! File handlers and file-lifecycle-bound data (FLB) that other parts of the kernel register with
//! the Live Update Orchestrator.
//!
//! Where Linux has tables of callbacks, there are trait objects here: [`FileOps`] and [`FlbOps`].

mod flb;
mod handler;
pub mod ops;

pub use self::{
    flb::{ActiveFlb, Flb, FlbObject, FlbOps},
    handler::{ActiveHandler, Carried, FileHandler, FileOps, Kept, Retrieval, Saved, Unretrieved},
};

use crate::{
    error::Result,
    error::code::EBADF,
    fs::File,
    host::{machine, memfd, shmem},
    sync::aref::ARef,
};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The length of a compatibility string, NUL included.
pub const COMPATIBLE_LEN: usize = 48;

/// Looks up a descriptor of the calling task.
///
/// # Errors
///
/// `EBADF` if there is no such descriptor.
pub fn fget(fd: i32) -> Result<ARef<File>> {
    machine::current().fds.lock().get(fd).ok_or(EBADF)
}

/// The size of a file in bytes, as `fstat` gives it: none but files that are memory have one.
#[must_use]
pub fn file_size(file: &File) -> u64 {
    let size = memfd::size(file).or_else(|| shmem::size(file));
    size.unwrap_or(0)
}

/// The module that a handler or an FLB is part of.
#[derive(Default)]
pub struct Module {
    unloading: AtomicBool,
    refs: AtomicUsize,
}

impl Module {
    /// From now on nobody can hold the module.
    pub fn begin_unload(&self) {
        self.unloading.store(true, Ordering::SeqCst);
    }

    /// How often it is held.
    pub fn refs(&self) -> usize {
        self.refs.load(Ordering::SeqCst)
    }
}

/// Keeps a module loaded.
struct ModuleRef(&'static Module);

impl ModuleRef {
    fn get(module: &'static Module) -> Option<Self> {
        if module.unloading.load(Ordering::SeqCst) {
            return None;
        }
        module.refs.fetch_add(1, Ordering::SeqCst);
        Some(Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        self.0.refs.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The compatibility string, with zeroes behind it.
fn padded(from: &str) -> [u8; COMPATIBLE_LEN] {
    assert!(from.len() < COMPATIBLE_LEN, "{from:?} is too long");
    let mut to = [0; COMPATIBLE_LEN];
    to[..from.len()].copy_from_slice(from.as_bytes());
    to
}
