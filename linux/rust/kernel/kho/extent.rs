// SPDX-License-Identifier: GPL-2.0-only

//! Extents of more than a page, and folios.

use crate::bindings;
#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
use crate::{error::to_result, folio::Folio, prelude::*};
use core::ops::Range;

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
    #[cfg(CONFIG_LIVEUPDATE_MEMFD)]
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

    /// The numbers of the pages.
    #[inline]
    pub const fn pages(self) -> Range<u64> {
        self.pfn()..self.pfn() + self.nr_pages()
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
#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
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
#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
pub unsafe fn unpreserve(extents: &[Extent]) {
    // SAFETY: The caller's promise; an extent is a number.
    unsafe { bindings::kho_unpreserve_extents(extents.as_ptr().cast(), extents.len() as u32) };
}

/// Claims the folios that the previous kernel preserved at `pfns`, of an order up to `max_order`, and
/// puts each where there is the same number in `folios`. A folio can be claimed once.
///
/// # Errors
///
/// `EINVAL` if there is no such folio, or no place; those before it were claimed.
#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
pub fn claim_folios(pfns: &[u64], max_order: u32, folios: &mut [Option<Folio>]) -> Result {
    let nr = pfns.len().min(folios.len());
    let places = &mut folios[..nr];
    places.fill_with(|| None);
    // SAFETY: The call touches a page only once it has found that it is online memory and carries
    // KHO's mark, which it takes away, so that no later claim succeeds. A place is a pointer to a folio,
    // of which we have the only reference, or null as it is now.
    let claimed = unsafe {
        let places = places.as_mut_ptr().cast();
        bindings::kho_claim_folios(pfns.as_ptr(), nr as u32, max_order, places)
    };
    if (claimed as usize) < pfns.len() {
        return Err(EINVAL);
    }
    Ok(())
}
