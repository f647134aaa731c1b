// SPDX-License-Identifier: GPL-2.0-only

//! Extents of more than a page, and folios.

use crate::{bindings, error::to_result, folio::Folio, prelude::*};

/// Pages of a power of two in number, aligned to it, as KHO takes them.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Extent(u64);

impl Extent {
    const ORDER_SHIFT: u32 = bindings::KHO_EXTENT_ORDER_SHIFT;
    /// The first page.
    pub const FIRST: Self = Self::new(0, 0);

    /// `2^order` pages from `pfn` on.
    #[inline]
    pub const fn new(pfn: u64, order: u8) -> Self {
        Self(pfn | (order as u64) << Self::ORDER_SHIFT)
    }

    /// An extent that C has written down.
    #[inline]
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number of the first page.
    #[inline]
    pub const fn pfn(self) -> u64 {
        self.0 & ((1 << Self::ORDER_SHIFT) - 1)
    }

    /// The binary logarithm of the number of pages.
    #[inline]
    pub const fn order(self) -> u8 {
        (self.0 >> Self::ORDER_SHIFT) as u8
    }

    /// The number of pages.
    #[inline]
    pub const fn nr_pages(self) -> u64 {
        1 << self.order()
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
pub unsafe fn preserve(extents: &[Extent]) -> Result {
    // SAFETY: The caller's promise; an extent is a number.
    to_result(unsafe {
        bindings::kho_preserve_extents(extents.as_ptr().cast(), extents.len() as u32)
    })
}

/// Undoes [`preserve`].
///
/// # Safety
///
/// The extents have to be preserved, by the caller.
pub unsafe fn unpreserve(extents: &[Extent]) {
    // SAFETY: The caller's promise; an extent is a number.
    unsafe { bindings::kho_unpreserve_extents(extents.as_ptr().cast(), extents.len() as u32) };
}

/// Claims the folios that the previous kernel preserved at `pfns`, of an order up to `max_order`, and
/// adds them to `folios`. A folio can be claimed once.
///
/// # Errors
///
/// `ENOMEM`: none was claimed. `EINVAL` if there is no such folio; those before it were claimed.
pub fn claim_folios(pfns: &[u64], max_order: u32, folios: &mut KVVec<Folio>) -> Result {
    folios.reserve(pfns.len(), GFP_KERNEL)?;
    let room = folios.spare_capacity_mut().as_mut_ptr();
    // SAFETY: The call touches a page only once it has found that it is online memory and carries
    // KHO's mark, which it takes away, so that no later claim succeeds. There is room for all folios.
    let claimed = unsafe {
        bindings::kho_claim_folios(pfns.as_ptr(), pfns.len() as u32, max_order, room.cast())
    };
    // SAFETY: So many are there now: a folio is a pointer to one, and we have its only reference.
    unsafe { folios.inc_len(claimed as usize) };
    if (claimed as usize) < pfns.len() {
        return Err(EINVAL);
    }
    Ok(())
}
