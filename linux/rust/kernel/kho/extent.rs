// SPDX-License-Identifier: GPL-2.0-only

//! Extents of more than a page, and folios.

use super::PhysAddr;
use crate::{
    bindings,
    error::to_result,
    folio::{Folio, FolioRun},
    page::PAGE_SHIFT,
    prelude::*,
};
use core::{mem::ManuallyDrop, ops::Deref, ptr::NonNull};

/// A run of as many pages as a folio can have, preserved for the next kernel, which finds one folio
/// there. Dropping it unpreserves the pages.
///
/// # Invariants
///
/// The run is one block: its [`FolioRun::first_order`] was all of it.
pub struct PreservedRun(FolioRun);

impl PreservedRun {
    /// Preserves the run, which has to be one block; gives it back if that fails.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not one block, `ENOMEM`.
    pub fn new(run: FolioRun) -> Result<Self> {
        if run.nr_pages() != 1 << run.first_order() {
            return Err(EINVAL);
        }
        let (pfn, pages) = (run.pfn() as usize, run.nr_pages() as usize);
        // SAFETY: The pages are there, and stay where they are while the run is.
        to_result(unsafe { bindings::kho_preserve_pages(bindings::pfn_to_page(pfn), pages) })?;
        Ok(Self(run))
    }

    /// Forgets that the run is preserved and referenced; [`from_parts`](Self::from_parts) finds it
    /// again.
    pub fn into_parts(self) -> (u64, u64, u64) {
        let this = ManuallyDrop::new(self);
        // SAFETY: It is read once, and not dropped.
        unsafe { core::ptr::read(&this.0) }.into_parts()
    }

    /// Undoes [`into_parts`](Self::into_parts).
    ///
    /// # Safety
    ///
    /// They have to be parts of a preserved run, and to be used once.
    pub unsafe fn from_parts(parts: (u64, u64, u64)) -> Self {
        // SAFETY: The caller's promise.
        Self(unsafe { FolioRun::from_parts(parts) })
    }
}

impl Deref for PreservedRun {
    type Target = FolioRun;

    fn deref(&self) -> &FolioRun {
        &self.0
    }
}

impl Drop for PreservedRun {
    fn drop(&mut self) {
        let (pfn, pages) = (self.pfn() as usize, self.nr_pages() as usize);
        // SAFETY: These pages were preserved by one call.
        unsafe { bindings::kho_unpreserve_pages(bindings::pfn_to_page(pfn), pages) };
    }
}

/// Claims the folio that the previous kernel preserved at `pfn`, of an order up to `max_order`. A
/// folio can be claimed once.
///
/// # Errors
///
/// `EINVAL` if there is no such folio.
pub fn claim_folio(pfn: u64, max_order: u32) -> Result<Folio> {
    let addr = PhysAddr(pfn.checked_mul(1 << PAGE_SHIFT).ok_or(EINVAL)?);
    // SAFETY: The call touches the page only once it has found that the address is online memory and
    // carries KHO's mark, which it takes away, so that no later claim succeeds.
    let folio = unsafe { bindings::kho_claim_folio(addr.0, max_order) };
    let folio = NonNull::new(folio).ok_or(EINVAL)?;
    // SAFETY: The folio was restored for us, and we have its only reference.
    Ok(unsafe { Folio::from_raw(folio) })
}
