// SPDX-License-Identifier: GPL-2.0-only

//! The marks by which a kernel knows what the previous one preserved, in the struct pages.

use crate::{bindings, kho::extent::Extent, page::PAGE_SIZE, prelude::*};
use core::mem::ManuallyDrop;

/// The upper half of the mark of an extent that can be claimed: "KHOP".
pub const CLAIMABLE: u64 = 0x4b48_4f50;

/// The upper half of the mark of an extent that nobody gets: "KHOX".
pub const LOST: u64 = 0x4b48_4f58;

/// The mark of the first page of an extent.
pub const fn mark(kind: u64, order: u8) -> u64 {
    kind << 32 | order as u64
}

/// The extent that can be claimed at a page. It may be gone by the time it is.
#[inline]
pub fn find(pfn: u64) -> Option<Extent> {
    // SAFETY: No requirements: it looks whether the page is memory, and has a struct page.
    let found = unsafe { bindings::kho_page_mark(pfn) };
    let order = (found as u32).try_into().ok()?;
    (found >> 32 == CLAIMABLE).then_some(Extent::new(pfn, order))
}

/// An extent that is claimed. If it is dropped, it can be claimed again.
///
/// # Invariants
///
/// This kernel booted with the extent marked, and its mark was taken away for this value: nobody else has the pages.
pub struct Claimed(Extent);

impl Claimed {
    /// Claims the extent at a page.
    #[inline]
    pub fn at(pfn: u64) -> Option<Self> {
        let extent = find(pfn)?;
        let mark = mark(CLAIMABLE, extent.order());
        // SAFETY: The page has a struct page.
        let is_taken = unsafe { bindings::kho_page_take(pfn, mark) };
        // INVARIANT: Marks are made while the kernel boots, and this one is gone now.
        is_taken.then_some(Self(extent))
    }

    /// What is claimed.
    #[inline]
    pub fn extent(&self) -> Extent {
        self.0
    }

    /// What is in the extent, if it is one page. Any bytes may be.
    pub fn view<T: FromBytes>(&self) -> Option<&T> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        if self.0.order() != 0 {
            return None;
        }
        // SAFETY: By the type invariant it is memory of the linear mapping, which nobody else has.
        Some(unsafe { &*bindings::kho_phys_to_virt(self.0.pfn() * PAGE_SIZE as u64).cast() })
    }

    /// Gives the pages to the allocator.
    pub fn free(self) {
        let folio = self.into_folio();
        // SAFETY: That is its only reference.
        unsafe { bindings::kho_put_folio(folio) };
    }

    #[inline]
    fn take(self) -> Extent {
        ManuallyDrop::new(self).0
    }

    /// One folio, with one reference.
    #[inline]
    pub fn into_folio(self) -> *mut bindings::folio {
        let extent = self.take();
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_page_init_folio(extent.pfn(), extent.order().into()) }
    }

    /// Single pages, with one reference of each.
    pub fn into_pages(self) {
        let extent = self.take();
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_page_init(extent.pfn(), extent.nr_pages()) };
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the pages are as they were.
        unsafe { bindings::kho_page_give_back(self.0.pfn(), mark(CLAIMABLE, self.0.order())) };
    }
}

/// The allocator's count of pages, which those that are claimed come to. It is brought up to date for a zone at a time.
#[derive(Default)]
pub struct Account {
    pfn: u64,
    pages: u64,
}

impl Account {
    /// Counts an extent.
    #[inline]
    pub fn add(&mut self, extent: Extent) {
        // SAFETY: Both are pages that are claimed, so they have struct pages; none is counted at first.
        if self.pages > 0 && !unsafe { bindings::kho_page_same_zone(self.pfn, extent.pfn()) } {
            self.settle();
        }
        self.pfn = extent.pfn();
        self.pages += extent.nr_pages();
    }

    fn settle(&mut self) {
        if self.pages > 0 {
            // SAFETY: As in `add`.
            unsafe { bindings::kho_page_account(self.pfn, self.pages) };
        }
        self.pages = 0;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle();
    }
}

/// The node that a page of this kernel is on.
#[inline]
pub fn node(pfn: u64) -> i32 {
    // SAFETY: It looks whether there is such a page.
    unsafe { bindings::kho_page_nid(pfn) }
}
