// SPDX-License-Identifier: GPL-2.0-only

//! Extents of more than a page, and folios.

use super::PhysAddr;
use crate::{bindings, error::to_result, folio::Folio, page::PAGE_SHIFT, prelude::*};
use core::ptr::NonNull;

/// An extent as KHO takes it: the number of its first page, its order in the upper bits.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct RawExtent(u64);

impl RawExtent {
    const ORDER_SHIFT: u32 = 52;

    /// An extent of this order.
    #[inline]
    pub const fn new(pfn: u64, order: u8) -> Self {
        Self(pfn | (order as u64) << Self::ORDER_SHIFT)
    }
}

/// Preserves extents for the next kernel, which finds one folio in the place of each.
///
/// # Errors
///
/// `ENOMEM`: none of them is preserved then.
///
/// # Safety
///
/// Each has to be on one node, of folios that the caller has references of and keeps until it is
/// unpreserved.
pub unsafe fn preserve(extents: &[RawExtent]) -> Result {
    // SAFETY: The caller's promise; a raw extent is a number.
    to_result(unsafe {
        bindings::kho_preserve_extents(extents.as_ptr().cast(), extents.len() as u32)
    })
}

/// Undoes [`preserve`].
///
/// # Safety
///
/// The extents have to be preserved, by the caller.
pub unsafe fn unpreserve(extents: &[RawExtent]) {
    // SAFETY: The caller's promise; a raw extent is a number.
    unsafe { bindings::kho_unpreserve_extents(extents.as_ptr().cast(), extents.len() as u32) };
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
