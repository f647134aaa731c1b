// SPDX-License-Identifier: GPL-2.0-only

//! The marks by which a kernel knows what the previous one preserved, in the struct pages.

use crate::{
    host::ram::{Ram, Table},
    kho::extent::Extent,
};
use std::{mem::ManuallyDrop, sync::Arc};
use zerocopy::FromBytes;

/// The upper half of the mark of an extent that can be claimed: "KHOP".
pub const CLAIMABLE: u64 = 0x4b48_4f50;

/// The upper half of the mark of an extent that nobody gets: "KHOX".
pub const LOST: u64 = 0x4b48_4f58;

/// The mark of the first page of an extent.
#[must_use]
pub const fn mark(kind: u64, order: u8) -> u64 {
    kind << 32 | order as u64
}

/// The extent that can be claimed at a page. It may be gone by the time it is.
#[must_use]
pub fn find(pfn: u64) -> Option<Extent> {
    let found = Ram::current().mark(pfn);
    let order = (found as u32).try_into().ok()?;
    (found >> 32 == CLAIMABLE).then_some(Extent::new(pfn, order))
}

/// An extent that is claimed. If it is dropped, it can be claimed again.
pub struct Claimed(Extent, Arc<Ram>);

impl Claimed {
    /// Claims the extent at a page.
    #[must_use]
    pub fn at(pfn: u64) -> Option<Self> {
        let (extent, ram) = (find(pfn)?, Ram::current());
        ram.set_mark(pfn, 0);
        Some(Self(extent, ram))
    }

    /// What is claimed.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.0
    }

    /// What is in the extent, if it is one page. Any bytes may be.
    #[must_use]
    pub fn view<T: FromBytes>(&self) -> Option<&T> {
        const { assert!(size_of::<T>() <= size_of::<Table>() && align_of::<T>() <= align_of::<Table>()) };
        let table: *const Table = self.1.table(self.0.pfn());
        // SAFETY: The table is there for as long as the memory, large enough and aligned, and any bytes are a valid `T`.
        (self.0.order() == 0).then(|| unsafe { &*table.cast() })
    }

    /// One folio, with one reference.
    pub fn into_folio(self) {
        let claimed = ManuallyDrop::new(self);
        claimed.1.use_folio(claimed.0);
    }

    /// Single pages, with one reference of each.
    pub fn into_pages(self) {
        let claimed = ManuallyDrop::new(self);
        let pfns = claimed.0.pages();
        pfns.for_each(|it| claimed.1.use_folio(Extent::new(it, 0)));
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mark = mark(CLAIMABLE, self.0.order());
        self.1.set_mark(self.0.pfn(), mark);
    }
}

/// The allocator's count of pages, which those that are claimed come to.
#[derive(Default)]
pub struct Account(u64);

impl Account {
    /// Counts an extent.
    pub fn add(&mut self, extent: Extent) {
        self.0 += extent.nr_pages();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        Ram::current().account(self.0);
    }
}
