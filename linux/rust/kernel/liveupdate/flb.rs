// SPDX-License-Identifier: GPL-2.0-only

//! File-lifecycle-bound data.

use super::{padded, ModuleRef, COMPATIBLE_LEN};
use crate::{bindings, error::to_result, ffi::c_void, prelude::*};
use core::ptr::{self, NonNull};

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
