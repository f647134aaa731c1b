// SPDX-License-Identifier: GPL-2.0-only

//! File handlers and file-lifecycle-bound data (FLB) that other parts of the kernel register with
//! the Live Update Orchestrator.
//!
//! [`FileHandler`] and [`Flb`] name a registered structure, and can be asked what is asked of all.
//! [`FileHandler::get`] and [`Flb::get`] give a value that also keeps the owning module loaded;
//! the callbacks that do work are methods of that.
//!
//! C header: [`include/linux/liveupdate.h`](srctree/include/linux/liveupdate.h)

use crate::{
    bindings,
    error::to_result,
    ffi::c_void,
    fs::{File, LocalFile},
    prelude::*,
    sync::aref::ARef,
};
use core::ptr::{self, NonNull};

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

/// How far the retrieval of a file has come.
#[derive(Clone, Copy)]
pub enum Retrieval<'a> {
    /// Never tried.
    Untried,
    /// It failed, for good: handlers of this interface give up their data when they fail.
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
        let (file, status) = match retrieval {
            Retrieval::Untried => (ptr::null_mut(), 0),
            Retrieval::Failed(err) => (ptr::null_mut(), err.to_errno()),
            Retrieval::Done(file) => (file.as_ptr(), 1),
        };
        bindings::liveupdate_file_op_args {
            file,
            serialized_data: data,
            retrieve_status: status,
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

    /// Makes the file anew from the handle of the previous kernel. To be called once.
    ///
    /// # Errors
    ///
    /// The handler's; the handle is then of no more use but to [`finish`](Self::finish).
    pub fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        let mut args = self.args_incoming(data, Retrieval::Untried);
        let retrieve = self.ops().retrieve.ok_or(EINVAL)?;
        // SAFETY: The arguments are complete and valid for the call.
        to_result(unsafe { retrieve(&mut args) })?;
        let file = NonNull::new(args.file.cast::<File>()).ok_or(EIO)?;
        // SAFETY: The handler hands over one reference to a new file, whose position nobody has
        // locked. `File` has the layout of `struct file`.
        Ok(unsafe { ARef::from_raw(file) })
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

/// A `struct liveupdate_flb`.
///
/// # Invariants
///
/// The pointer is valid for as long as the FLB is registered, its module is held, or the call
/// lasts that passed it in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flb(NonNull<bindings::liveupdate_flb>);

// SAFETY: LUO only reads the structure; its callbacks may be called from any task.
unsafe impl Send for Flb {}
// SAFETY: As above.
unsafe impl Sync for Flb {}

impl Flb {
    /// Wraps the argument of a call.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a callback is missing.
    ///
    /// # Safety
    ///
    /// `raw` must be valid until it is unregistered and no [`ActiveFlb`] of it is left.
    pub unsafe fn from_raw(raw: *mut bindings::liveupdate_flb) -> Result<Self> {
        let this = Self(NonNull::new(raw).ok_or(EINVAL)?);
        let ops = this.ops();
        let complete = ops.preserve.is_some()
            && ops.unpreserve.is_some()
            && ops.retrieve.is_some()
            && ops.finish.is_some();
        // INVARIANT: Checked here; valid by the caller's promise.
        complete.then_some(this).ok_or(EINVAL)
    }

    fn ops(&self) -> &bindings::liveupdate_flb_ops {
        // SAFETY: By the type invariant FLB and table are valid.
        unsafe { &*self.0.as_ref().ops }
    }

    /// The compatibility string, with zeroes behind it.
    pub fn compatible(&self) -> [u8; COMPATIBLE_LEN] {
        // SAFETY: By the type invariant the FLB is valid.
        padded(unsafe { &self.0.as_ref().compatible })
    }

    /// Holds the module; `None` if it is being unloaded.
    pub fn get(self) -> Option<ActiveFlb> {
        // SAFETY: An FLB is unregistered before its module is freed.
        let module = unsafe { ModuleRef::get(self.ops().owner) }?;
        Some(ActiveFlb {
            flb: self,
            _module: module,
        })
    }
}

/// The live object of an FLB. LUO hands the pointer around and never follows it.
#[derive(Clone, Copy)]
pub struct FlbObject(pub *mut c_void);

// SAFETY: It is an opaque number to LUO; its users synchronise what it points to.
unsafe impl Send for FlbObject {}
// SAFETY: As above.
unsafe impl Sync for FlbObject {}

impl FlbObject {
    /// No object.
    pub const NONE: Self = Self(ptr::null_mut());

    /// Whether there is no object.
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }
}

/// An [`Flb`] whose module is held.
pub struct ActiveFlb {
    flb: Flb,
    _module: ModuleRef,
}

impl core::ops::Deref for ActiveFlb {
    type Target = Flb;

    fn deref(&self) -> &Flb {
        &self.flb
    }
}

impl ActiveFlb {
    fn args(&self, data: u64, obj: FlbObject) -> bindings::liveupdate_flb_op_args {
        bindings::liveupdate_flb_op_args {
            flb: self.flb.0.as_ptr(),
            data,
            obj: obj.0,
        }
    }

    /// Saves the shared state: gives the handle for the next kernel and the live object.
    ///
    /// # Errors
    ///
    /// The FLB's; it has then kept nothing.
    pub fn preserve(&self) -> Result<(u64, FlbObject)> {
        let mut args = self.args(0, FlbObject::NONE);
        let preserve = self.flb.ops().preserve.ok_or(EINVAL)?;
        // SAFETY: The arguments are complete and valid for the call.
        to_result(unsafe { preserve(&mut args) })?;
        Ok((args.data, FlbObject(args.obj)))
    }

    /// Gives up what [`preserve`](Self::preserve) saved.
    pub fn unpreserve(&self, data: u64, obj: FlbObject) {
        if let Some(unpreserve) = self.flb.ops().unpreserve {
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { unpreserve(&mut self.args(data, obj)) };
        }
    }

    /// Makes the live object anew from the handle of the previous kernel.
    ///
    /// # Errors
    ///
    /// The FLB's.
    pub fn retrieve(&self, data: u64) -> Result<FlbObject> {
        let mut args = self.args(data, FlbObject::NONE);
        let retrieve = self.flb.ops().retrieve.ok_or(EINVAL)?;
        // SAFETY: The arguments are complete and valid for the call.
        to_result(unsafe { retrieve(&mut args) })?;
        Ok(FlbObject(args.obj))
    }

    /// Ends the life of the shared state.
    pub fn finish(&self, data: u64, obj: FlbObject) {
        if let Some(finish) = self.flb.ops().finish {
            // SAFETY: The arguments are complete and valid for the call.
            unsafe { finish(&mut self.args(data, obj)) };
        }
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
