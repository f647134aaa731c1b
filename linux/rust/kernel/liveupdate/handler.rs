// SPDX-License-Identifier: GPL-2.0-only

//! File handlers.

use super::{padded, ModuleRef, COMPATIBLE_LEN};
use crate::{bindings, error::to_result, ffi::c_void, fs::File, prelude::*, sync::aref::ARef};
use core::ptr::{self, NonNull};

/// A registered `struct liveupdate_file_handler`.
///
/// # Invariants
///
/// The pointer is valid, with all required callbacks, for as long as the handler is registered or
/// its module is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileHandler(NonNull<bindings::liveupdate_file_handler>);

// SAFETY: The structure is read-only while registered; its callbacks may be called from any task.
unsafe impl Send for FileHandler {}
// SAFETY: As above.
unsafe impl Sync for FileHandler {}

impl FileHandler {
    /// Wraps the argument of a registration.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a required callback is missing.
    ///
    /// # Safety
    ///
    /// `raw` must be valid until it is unregistered and no [`ActiveHandler`] of it is left.
    pub unsafe fn from_raw(raw: *mut bindings::liveupdate_file_handler) -> Result<Self> {
        let this = Self(NonNull::new(raw).ok_or(EINVAL)?);
        let ops = this.ops();
        let complete = ops.can_preserve.is_some()
            && ops.preserve.is_some()
            && ops.unpreserve.is_some()
            && ops.retrieve.is_some()
            && ops.finish.is_some();
        // INVARIANT: Checked here; valid by the caller's promise.
        complete.then_some(this).ok_or(EINVAL)
    }

    fn ops(&self) -> &bindings::liveupdate_file_ops {
        // SAFETY: By the type invariant handler and table are valid.
        unsafe { &*self.0.as_ref().ops }
    }

    /// The compatibility string, with zeroes behind it.
    pub fn compatible(&self) -> [u8; COMPATIBLE_LEN] {
        // SAFETY: By the type invariant the handler is valid.
        padded(unsafe { &self.0.as_ref().compatible })
    }

    /// Asks whether the handler can take care of `file`.
    pub fn can_preserve(&self, file: &File) -> bool {
        let Some(can_preserve) = self.ops().can_preserve else {
            return false;
        };
        // SAFETY: Both pointers are valid for the call.
        unsafe { can_preserve(self.0.as_ptr(), file.as_ptr()) }
    }

    /// Holds the module; `None` if it is being unloaded.
    ///
    /// The caller must keep the handler from being unregistered during the call.
    pub fn get(self) -> Option<ActiveHandler> {
        // SAFETY: A handler is unregistered before its module is freed.
        let module = unsafe { ModuleRef::get(self.ops().owner) }?;
        Some(ActiveHandler {
            handler: self,
            _module: module,
        })
    }
}

/// What a handler keeps of a preserved file.
#[derive(Clone, Copy)]
pub struct Saved {
    /// The handle that the next kernel gets.
    pub data: u64,
    private: *mut c_void,
}

// SAFETY: LUO never follows the pointer; the handler accepts it back in any task.
unsafe impl Send for Saved {}
// SAFETY: As above.
unsafe impl Sync for Saved {}

/// What a handler keeps of a file between attempts to retrieve it.
#[derive(Clone, Copy)]
pub struct Kept(*mut c_void);

// SAFETY: LUO never follows the pointer; the handler accepts it back in any task.
unsafe impl Send for Kept {}
// SAFETY: As above.
unsafe impl Sync for Kept {}

impl Kept {
    /// Before the first attempt.
    pub const NOTHING: Self = Self(ptr::null_mut());
}

/// A file that nobody has retrieved, preserved for the next kernel.
pub struct Carried {
    /// The handle that the next kernel gets.
    pub data: u64,
}

/// Why a file was not retrieved.
pub enum Unretrieved {
    /// The handler has given up its data.
    Final(Error),
    /// Nothing has changed, and another attempt may succeed.
    Transient(Error),
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

/// A [`FileHandler`] whose module is held.
pub struct ActiveHandler {
    handler: FileHandler,
    _module: ModuleRef,
}

impl core::ops::Deref for ActiveHandler {
    type Target = FileHandler;

    fn deref(&self) -> &FileHandler {
        &self.handler
    }
}

impl ActiveHandler {
    fn args(&self) -> bindings::liveupdate_file_op_args {
        bindings::liveupdate_file_op_args {
            handler: self.handler.0.as_ptr(),
            ..pin_init::zeroed()
        }
    }

    fn args_of(&self, file: &File, saved: Saved) -> bindings::liveupdate_file_op_args {
        bindings::liveupdate_file_op_args {
            file: file.as_ptr(),
            serialized_data: saved.data,
            private_data: saved.private,
            ..self.args()
        }
    }

    fn args_incoming(
        &self,
        data: u64,
        retrieval: Retrieval<'_>,
    ) -> bindings::liveupdate_file_op_args {
        let (file, status, Kept(private)) = match retrieval {
            Retrieval::Waiting(kept) => (ptr::null_mut(), 0, kept),
            Retrieval::Failed(err) => (ptr::null_mut(), err.to_errno(), Kept::NOTHING),
            Retrieval::Done(file) => (file.as_ptr(), 1, Kept::NOTHING),
        };
        bindings::liveupdate_file_op_args {
            file,
            serialized_data: data,
            retrieve_status: status,
            private_data: private,
            ..self.args()
        }
    }

    /// What identifies the object behind `file`, so that it is not preserved twice.
    pub fn id(&self, file: &File) -> usize {
        match self.ops().get_id {
            // SAFETY: The file is valid for the call.
            Some(get_id) => unsafe { get_id(file.as_ptr()) },
            None => file.as_ptr() as usize,
        }
    }

    /// Saves the state of `file`.
    ///
    /// # Errors
    ///
    /// The handler's; it has then kept nothing.
    pub fn preserve(&self, file: &File) -> Result<Saved> {
        let mut args = self.args();
        args.file = file.as_ptr();
        let preserve = self.ops().preserve.ok_or(EINVAL)?;
        // SAFETY: The arguments are complete and valid for the call.
        to_result(unsafe { preserve(&mut args) })?;
        Ok(Saved {
            data: args.serialized_data,
            private: args.private_data,
        })
    }

    /// Gives up what [`preserve`](Self::preserve) saved.
    pub fn unpreserve(&self, file: &File, saved: Saved) {
        if let Some(unpreserve) = self.ops().unpreserve {
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { unpreserve(&mut self.args_of(file, saved)) };
        }
    }

    /// Last call before the jump; it may replace the handle.
    ///
    /// # Errors
    ///
    /// The handler's; the file is then as it was.
    pub fn freeze(&self, file: &File, saved: &mut Saved) -> Result {
        let Some(freeze) = self.ops().freeze else {
            return Ok(());
        };
        let mut args = self.args_of(file, *saved);
        // SAFETY: The arguments are complete and valid for the call.
        to_result(unsafe { freeze(&mut args) })?;
        saved.data = args.serialized_data;
        Ok(())
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn unfreeze(&self, file: &File, saved: Saved) {
        if let Some(unfreeze) = self.ops().unfreeze {
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { unfreeze(&mut self.args_of(file, saved)) };
        }
    }

    /// Makes the file anew from the handle of the previous kernel.
    ///
    /// A handler that can be asked again says so by leaving an errno in `retrieve_status`; what it
    /// leaves in `private_data` goes to the next attempt, or to [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn retrieve(&self, data: u64, kept: &mut Kept) -> Result<ARef<File>, Unretrieved> {
        let mut args = self.args_incoming(data, Retrieval::Waiting(*kept));
        let retrieve = self.ops().retrieve.ok_or(Unretrieved::Final(EINVAL))?;
        // SAFETY: The arguments are complete and valid for the call.
        let result = to_result(unsafe { retrieve(&mut args) });
        match result {
            Err(err) if args.retrieve_status < 0 => {
                *kept = Kept(args.private_data);
                Err(Unretrieved::Transient(err))
            }
            Err(err) => Err(Unretrieved::Final(err)),
            Ok(()) => {
                let file = NonNull::new(args.file.cast::<File>());
                let file = file.ok_or(Unretrieved::Final(EIO))?;
                // SAFETY: The handler hands over one reference to a new file, whose position nobody
                // has locked. `File` has the layout of `struct file`.
                Ok(unsafe { ARef::from_raw(file) })
            }
        }
    }

    /// Preserves, for the next kernel, what nobody has retrieved in this one.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the handler cannot; its own. The file can then be retrieved as before.
    pub fn carry(&self, data: u64, kept: &mut Kept) -> Result<Carried> {
        let carry = self.ops().carry.ok_or(Error::from_errno(-95))?;
        let mut args = self.args_incoming(data, Retrieval::Waiting(*kept));
        // SAFETY: The arguments are complete and valid for the call.
        let carried = to_result(unsafe { carry(&mut args) });
        *kept = Kept(args.private_data);
        carried?;
        Ok(Carried {
            data: args.serialized_data,
        })
    }

    /// Undoes [`carry`](Self::carry).
    pub fn uncarry(&self, data: u64, kept: &mut Kept) {
        if let Some(uncarry) = self.ops().uncarry {
            let mut args = self.args_incoming(data, Retrieval::Waiting(*kept));
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { uncarry(&mut args) };
            *kept = Kept(args.private_data);
        }
    }

    /// Asks whether [`finish`](Self::finish) may be called yet.
    pub fn can_finish(&self, data: u64, retrieval: Retrieval<'_>) -> bool {
        let Some(can_finish) = self.ops().can_finish else {
            return true;
        };
        // SAFETY: The arguments are complete and valid for the call.
        unsafe { can_finish(&mut self.args_incoming(data, retrieval)) }
    }

    /// Ends the life of the handle; what was not retrieved is discarded.
    pub fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        if let Some(finish) = self.ops().finish {
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { finish(&mut self.args_incoming(data, retrieval)) };
        }
    }
}
