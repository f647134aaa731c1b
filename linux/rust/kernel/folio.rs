// SPDX-License-Identifier: GPL-2.0-only

//! Folios: what the page cache is made of.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::{bindings, kho::extent::Extent};
use core::ptr::NonNull;

/// The largest order that a folio of the page cache can have on this kernel.
pub fn max_order() -> u32 {
    // SAFETY: No requirements; it is a constant.
    unsafe { bindings::max_folio_order() }
}

/// A reference to a folio, which keeps its pages from being freed, moved or swapped out.
///
/// # Invariants
///
/// The pointer is to a folio of which this value owns a reference. C may write it where an
/// `Option<Folio>` is expected, and null for `None`.
#[repr(transparent)]
pub struct Folio(NonNull<bindings::folio>);

// SAFETY: A reference may be given back by any task.
unsafe impl Send for Folio {}
// SAFETY: What can be read of a folio that is referenced does not change.
unsafe impl Sync for Folio {}

impl Folio {
    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// The caller owns a reference to the folio, and gives it away.
    #[inline]
    pub unsafe fn from_raw(folio: NonNull<bindings::folio>) -> Self {
        // INVARIANT: The caller's promise.
        Self(folio)
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::folio {
        self.0.as_ptr()
    }

    /// The number of the first page.
    #[inline]
    pub fn pfn(&self) -> u64 {
        // SAFETY: By the type invariant the folio is there.
        unsafe { bindings::folio_pfn(self.as_ptr()) as u64 }
    }

    /// The binary logarithm of the number of pages.
    #[inline]
    pub fn order(&self) -> u32 {
        // SAFETY: By the type invariant the folio is there, and cannot be split.
        unsafe { bindings::folio_order(self.as_ptr()) }
    }

    /// The number of pages.
    #[inline]
    pub fn nr_pages(&self) -> u64 {
        1 << self.order()
    }

    /// Overwrites all bytes with zeroes.
    pub fn zero(&mut self) {
        // SAFETY: By the type invariant the folio is there.
        unsafe { bindings::folio_zero(self.as_ptr()) };
    }
}

impl Clone for Folio {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant the folio is there.
        unsafe { bindings::folio_get(self.as_ptr()) };
        // INVARIANT: The reference was just taken.
        Self(self.0)
    }
}

impl Drop for Folio {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::folio_put(self.as_ptr()) };
    }
}

/// A folio with its place in a file.
pub struct PlacedFolio {
    folio: Folio,
    extent: Extent,
    index: u64,
}

impl PlacedFolio {
    /// The folio, at `index`.
    pub fn new(folio: Folio, index: u64) -> Self {
        Self {
            extent: Extent::new(folio.pfn(), folio.order() as u8),
            folio,
            index,
        }
    }

    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// The caller owns a reference to the folio, which consists of the pages in `extent`, and gives it
    /// away.
    #[inline]
    pub(crate) unsafe fn from_raw(
        folio: NonNull<bindings::folio>,
        extent: Extent,
        index: u64,
    ) -> Self {
        Self {
            // SAFETY: The caller's promise.
            folio: unsafe { Folio::from_raw(folio) },
            extent,
            index,
        }
    }

    /// The place, in pages.
    #[inline]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Gives the reference away; [`put_folios`] takes it back.
    #[inline]
    pub fn into_extent(self) -> Extent {
        core::mem::forget(self.folio);
        self.extent
    }
}

/// Whether two pages are on one node: KHO keeps extents on one.
///
/// There has to be memory at both, as there is where folios are; elsewhere the answer is meaningless.
pub fn pages_share_node(first: u64, last: u64) -> bool {
    // SAFETY: It looks for the node of a page's section, if there is one.
    unsafe { bindings::pfns_share_node(first as usize, last as usize) }
}

/// Gives back a reference to each folio in an extent.
///
/// # Safety
///
/// The extent has to consist of whole folios, and the references to be the caller's.
pub unsafe fn put_folios(extent: Extent) {
    let mut at = extent.pfn();
    while at < extent.pfn() + extent.nr_pages() {
        // SAFETY: A folio begins here, as the caller promises.
        let folio = unsafe { bindings::pfn_folio(at as usize) };
        // SAFETY: It is not null, and the reference is the caller's.
        let folio = unsafe { Folio::from_raw(NonNull::new_unchecked(folio)) };
        at += folio.nr_pages();
    }
}
