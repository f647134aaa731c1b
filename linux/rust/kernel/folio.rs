// SPDX-License-Identifier: GPL-2.0-only

//! Folios: what the page cache is made of.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::bindings;
use core::{mem::ManuallyDrop, ptr::NonNull};

/// The largest order that a folio of the page cache can have on this kernel.
pub fn max_order() -> u32 {
    // SAFETY: No requirements; it is a constant.
    unsafe { bindings::max_folio_order() }
}

/// A reference to a folio, which keeps its pages from being freed, moved or swapped out.
///
/// # Invariants
///
/// The pointer is to a folio of which this value owns a reference.
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
    pub unsafe fn from_raw(folio: NonNull<bindings::folio>) -> Self {
        // INVARIANT: The caller's promise.
        Self(folio)
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::folio {
        self.0.as_ptr()
    }

    /// The number of the first page.
    pub fn pfn(&self) -> u64 {
        // SAFETY: By the type invariant the folio is there.
        unsafe { bindings::folio_pfn(self.as_ptr()) as u64 }
    }

    /// The binary logarithm of the number of pages.
    pub fn order(&self) -> u32 {
        // SAFETY: By the type invariant the folio is there, and cannot be split.
        unsafe { bindings::folio_order(self.as_ptr()) }
    }

    /// The number of pages.
    pub fn nr_pages(&self) -> u64 {
        1 << self.order()
    }

    /// The place in the file, in pages. It means something while the folio is part of one.
    pub fn index(&self) -> u64 {
        // SAFETY: By the type invariant the folio is there.
        unsafe { bindings::folio_index(self.as_ptr()) as u64 }
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
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::folio_put(self.as_ptr()) };
    }
}

/// Pages that are neighbours both in memory and in a file, with a reference to each of their folios.
///
/// # Invariants
///
/// The pages are those of whole folios, of each of which this value owns a reference.
pub struct FolioRun {
    pfn: u64,
    index: u64,
    pages: u64,
}

impl FolioRun {
    /// A run of one folio, which is part of a file.
    pub fn new(folio: Folio) -> Self {
        let index = folio.index();
        Self::at(folio, index)
    }

    /// A run of one folio, which is to be at this place of a file, in pages.
    pub fn at(folio: Folio, index: u64) -> Self {
        let folio = ManuallyDrop::new(folio);
        // INVARIANT: The reference is the folio's.
        Self {
            pfn: folio.pfn(),
            index,
            pages: folio.nr_pages(),
        }
    }

    /// The number of the first page.
    pub fn pfn(&self) -> u64 {
        self.pfn
    }

    /// The place in the file, in pages.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The number of pages.
    pub fn nr_pages(&self) -> u64 {
        self.pages
    }

    /// Adds the folio that follows; gives one back that does not.
    pub fn push(&mut self, folio: Folio) -> Result<(), Folio> {
        if folio.pfn() != self.pfn + self.pages || folio.index() != self.index + self.pages {
            return Err(folio);
        }
        self.pages += folio.nr_pages();
        // INVARIANT: The reference is ours from now on.
        core::mem::forget(folio);
        Ok(())
    }

    /// The order of the largest block at the begin of the run that one folio could be: aligned in
    /// memory and in the file, and no larger than the page cache allows.
    ///
    /// It never cuts a folio of the run in two, since each is such a block itself.
    pub fn first_order(&self) -> u32 {
        let aligned = (self.pfn | self.index).trailing_zeros();
        let first = self.first_folio().order();
        let mut order = aligned.min(self.pages.ilog2()).min(max_order()).max(first);
        // KHO keeps extents on one node.
        while order > first && !self.shares_node(1 << order) {
            order -= 1;
        }
        order
    }

    fn shares_node(&self, pages: u64) -> bool {
        let last = self.pfn + pages - 1;
        // SAFETY: By the type invariant both pages are there.
        unsafe { bindings::pfns_share_node(self.pfn as usize, last as usize) }
    }

    fn first_folio(&self) -> ManuallyDrop<Folio> {
        // SAFETY: By the type invariant the page begins a folio; its reference stays with the run.
        ManuallyDrop::new(unsafe { folio_at(self.pfn) })
    }

    /// Takes the block of [`first_order`](Self::first_order) off the run; `None` if it is all of it.
    pub fn split_first(&mut self) -> Option<Self> {
        let pages = 1 << self.first_order();
        if pages == self.pages {
            return None;
        }
        // INVARIANT: Each folio is in one of the two.
        let first = Self { pages, ..*self };
        self.pfn += pages;
        self.index += pages;
        self.pages -= pages;
        Some(first)
    }

    /// Forgets the references; [`from_parts`](Self::from_parts) finds them again.
    pub fn into_parts(self) -> (u64, u64, u64) {
        let this = ManuallyDrop::new(self);
        (this.pfn, this.index, this.pages)
    }

    /// Undoes [`into_parts`](Self::into_parts).
    ///
    /// # Safety
    ///
    /// They have to be parts of a run, and to be used once.
    pub unsafe fn from_parts((pfn, index, pages): (u64, u64, u64)) -> Self {
        // INVARIANT: The caller's promise.
        Self { pfn, index, pages }
    }
}

/// The folio that begins at a page.
///
/// # Safety
///
/// A folio has to begin there, and a reference to it has to be the caller's to give away.
unsafe fn folio_at(pfn: u64) -> Folio {
    // SAFETY: The caller promises that the page is there.
    let folio = unsafe { bindings::pfn_folio(pfn as usize) };
    // SAFETY: It is not null, since the page is there; the reference is the caller's.
    unsafe { Folio::from_raw(NonNull::new_unchecked(folio)) }
}

impl Drop for FolioRun {
    fn drop(&mut self) {
        let end = self.pfn + self.pages;
        while self.pfn < end {
            // SAFETY: By the type invariant a folio begins here, and the reference is ours.
            let folio = unsafe { folio_at(self.pfn) };
            self.pfn += folio.nr_pages();
        }
    }
}
