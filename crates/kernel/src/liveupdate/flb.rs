// SPDX-License-Identifier: GPL-2.0-only

//! File-lifecycle-bound data.

use super::{COMPATIBLE_LEN, Module, ModuleRef, padded};
use crate::{backend, error::Result};
use core::ops::Deref;

/// The callbacks of an FLB: `struct liveupdate_flb_ops`.
pub trait FlbOps: Send + Sync {
    /// The compatibility string.
    fn compatible(&self) -> &str;

    /// The module that the FLB is part of.
    fn module(&self) -> &Module;

    /// Saves the shared state: gives the handle for the next kernel and the live object. If it
    /// fails it has kept nothing.
    fn preserve(&self) -> Result<(u64, FlbObject)>;

    /// Gives up what was saved.
    fn unpreserve(&self, data: u64, obj: FlbObject);

    /// Makes the live object anew. A failure is for good.
    fn retrieve(&self, data: u64) -> Result<FlbObject>;

    /// Ends the life of the shared state.
    fn finish(&self, data: u64, obj: FlbObject);
}

/// The live object of an FLB: an address that LUO hands around and never follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlbObject(pub usize);

impl FlbObject {
    /// No object.
    pub const NONE: Self = Self(0);

    /// Whether there is no object.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A registered FLB.
#[derive(Clone, Copy)]
pub struct Flb(&'static dyn FlbOps);

impl Flb {
    /// The FLB with these callbacks.
    #[must_use]
    pub fn new(ops: &'static dyn FlbOps) -> Self {
        Self(ops)
    }

    /// The compatibility string, with zeroes behind it.
    #[must_use]
    pub fn compatible(&self) -> [u8; COMPATIBLE_LEN] {
        padded(self.0.compatible())
    }

    /// Holds the module; `None` if it is being unloaded.
    #[must_use]
    pub fn get(self) -> Option<ActiveFlb> {
        backend::point();
        let module = ModuleRef::get(self.0.module())?;
        Some(ActiveFlb {
            flb: self,
            _module: module,
        })
    }
}

impl PartialEq for Flb {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(self.0, other.0)
    }
}

impl Deref for Flb {
    type Target = dyn FlbOps;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

/// An [`Flb`] whose module is held.
pub struct ActiveFlb {
    flb: Flb,
    _module: ModuleRef,
}

impl Deref for ActiveFlb {
    type Target = Flb;

    fn deref(&self) -> &Flb {
        &self.flb
    }
}
