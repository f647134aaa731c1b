// SPDX-License-Identifier: GPL-2.0-only

//! File handlers.

use super::{COMPATIBLE_LEN, Module, ModuleRef, padded};
use crate::{
    backend,
    error::{Error, Result, code::EBUSY},
    fs::File,
    sync::aref::ARef,
};
use core::ops::Deref;

/// The callbacks of a handler: `struct liveupdate_file_ops`.
///
/// LUO calls those that do work through an [`ActiveHandler`]; that it does so is for the kernel's
/// build to check.
pub trait FileOps: Send + Sync {
    /// The compatibility string.
    fn compatible(&self) -> &str;

    /// The module that the handler is part of.
    fn module(&self) -> &Module;

    /// Asks whether the handler can take care of `file`.
    fn can_preserve(&self, file: &File) -> bool;

    /// What identifies the object behind `file`, so that it is not preserved twice.
    fn id(&self, file: &File) -> usize {
        file.addr()
    }

    /// Saves the state of `file`. If it fails it has kept nothing.
    fn preserve(&self, file: &File) -> Result<Saved>;

    /// Gives up what was saved.
    fn unpreserve(&self, file: &File, saved: Saved);

    /// Last call before the jump; it may replace the handle. If it fails all is as it was.
    fn freeze(&self, _file: &File, _saved: &mut Saved) -> Result {
        Ok(())
    }

    /// Undoes `freeze`.
    fn unfreeze(&self, _file: &File, _saved: Saved) {}

    /// Makes the file anew. If it fails the handle is of no more use but to `finish`, unless
    /// [`may_repeat`](Self::may_repeat) says otherwise.
    fn retrieve(&self, data: u64) -> Result<ARef<File>>;

    /// Whether nothing has changed after `retrieve` has failed with this error.
    fn may_repeat(&self, _err: Error) -> bool {
        false
    }

    /// Preserves, for the next kernel, what nobody has retrieved in this one; gives the handle for it.
    fn carry(&self, _data: u64) -> Result<u64> {
        Err(EBUSY)
    }

    /// Undoes `carry`.
    fn uncarry(&self, _data: u64) {}

    /// Asks whether `finish` may be called yet.
    fn can_finish(&self, _data: u64, _retrieval: Retrieval<'_>) -> bool {
        true
    }

    /// Ends the life of the handle; what was not retrieved is discarded.
    fn finish(&self, data: u64, retrieval: Retrieval<'_>);
}

/// What a handler keeps of a preserved file.
#[derive(Clone, Copy)]
pub struct Saved {
    /// The handle that the next kernel gets.
    pub data: u64,
}

/// What a handler keeps of a file between attempts to retrieve it: nothing, here.
#[derive(Clone, Copy)]
pub struct Kept(());

impl Kept {
    /// Before the first attempt.
    pub const NOTHING: Self = Self(());
}

/// Why a file was not retrieved.
pub enum Unretrieved {
    /// The handler has given up its data.
    Final(Error),
    /// Nothing has changed, and another attempt may succeed.
    Transient(Error),
}

/// A file that nobody has retrieved, preserved for the next kernel.
pub struct Carried {
    /// The handle that the next kernel gets.
    pub data: u64,
}

/// How far the retrieval of a file has come.
#[derive(Clone, Copy)]
pub enum Retrieval<'a> {
    /// Not yet.
    Waiting(Kept),
    /// It failed, for good.
    Failed(Error),
    /// This is the file.
    Done(&'a File),
}

/// A registered handler.
#[derive(Clone, Copy)]
pub struct FileHandler(&'static dyn FileOps);

impl FileHandler {
    /// The handler with these callbacks.
    #[must_use]
    pub fn new(ops: &'static dyn FileOps) -> Self {
        Self(ops)
    }

    /// The compatibility string, with zeroes behind it.
    #[must_use]
    pub fn compatible(&self) -> [u8; COMPATIBLE_LEN] {
        padded(self.0.compatible())
    }

    /// Holds the module; `None` if it is being unloaded.
    #[must_use]
    pub fn get(self) -> Option<ActiveHandler> {
        backend::point();
        let module = ModuleRef::get(self.0.module())?;
        Some(ActiveHandler {
            handler: self,
            _module: module,
        })
    }
}

impl PartialEq for FileHandler {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(self.0, other.0)
    }
}

impl Deref for FileHandler {
    type Target = dyn FileOps;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

/// A [`FileHandler`] whose module is held.
pub struct ActiveHandler {
    handler: FileHandler,
    _module: ModuleRef,
}

impl ActiveHandler {
    /// Makes the file anew from the handle of the previous kernel.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn retrieve(&self, data: u64, _kept: &mut Kept) -> Result<ARef<File>, Unretrieved> {
        self.handler.retrieve(data).map_err(|err| {
            if self.handler.may_repeat(err) {
                Unretrieved::Transient(err)
            } else {
                Unretrieved::Final(err)
            }
        })
    }
}

impl ActiveHandler {
    /// Preserves, for the next kernel, what nobody has retrieved in this one.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the handler cannot; its own.
    pub fn carry(&self, data: u64, _kept: &mut Kept) -> Result<Carried> {
        let data = self.handler.carry(data)?;
        Ok(Carried { data })
    }

    /// Undoes [`carry`](Self::carry).
    pub fn uncarry(&self, data: u64, _kept: &mut Kept) {
        self.handler.uncarry(data);
    }
}

impl Deref for ActiveHandler {
    type Target = FileHandler;

    fn deref(&self) -> &FileHandler {
        &self.handler
    }
}
