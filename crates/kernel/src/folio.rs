// SPDX-License-Identifier: GPL-2.0-only

//! Folios: what the page cache is made of.

use crate::{
    host::{arena::PAGE_SIZE, machine, poke},
    kho::extent::Extent,
};

/// Pages of a node: they need not end where a large folio could.
const NODE_PAGES: u64 = 1000;

/// The largest order that a folio of the page cache can have on this kernel.
#[must_use]
pub fn max_order() -> u32 {
    9
}

/// A reference to a folio, which keeps its pages from being freed.
pub struct Folio {
    pfn: u64,
}

impl Folio {
    /// Takes over a reference.
    pub(crate) fn from_pfn(pfn: u64) -> Self {
        Self { pfn }
    }

    /// The number of the first page.
    #[must_use]
    pub fn pfn(&self) -> u64 {
        self.pfn
    }

    /// The binary logarithm of the number of pages.
    #[must_use]
    pub fn order(&self) -> u32 {
        let order = machine::current().arena.lock().folio_order(self.pfn);
        u32::from(order)
    }

    /// The number of pages.
    #[must_use]
    pub fn nr_pages(&self) -> u64 {
        1 << self.order()
    }

    /// Overwrites all bytes with zeroes.
    pub fn zero(&mut self) {
        for pfn in self.pfn..self.pfn + self.nr_pages() {
            poke(pfn * PAGE_SIZE as u64, 0, &[0; PAGE_SIZE]);
        }
    }
}

impl Clone for Folio {
    fn clone(&self) -> Self {
        machine::current().arena.lock().folio_get(self.pfn);
        Self { pfn: self.pfn }
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        machine::current().arena.lock().folio_put(self.pfn);
    }
}

/// A folio with its place in a file.
pub struct PlacedFolio {
    folio: Folio,
    index: u64,
}

impl PlacedFolio {
    /// The folio, at `index`.
    #[must_use]
    pub fn new(folio: Folio, index: u64) -> Self {
        Self { folio, index }
    }

    /// The place, in pages.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Gives the reference away; [`put_folios`] takes it back.
    #[must_use]
    pub fn into_extent(self) -> Extent {
        let extent = Extent::new(self.folio.pfn, self.folio.order() as u8);
        core::mem::forget(self.folio);
        extent
    }
}

/// Whether two pages are on one node: KHO keeps extents on one.
#[must_use]
pub fn pages_share_node(first: u64, last: u64) -> bool {
    first / NODE_PAGES == last / NODE_PAGES
}

/// Gives back a reference to each folio in an extent.
///
/// # Safety
///
/// The extent has to consist of whole folios, and the references to be the caller's. Here the arena checks that.
pub unsafe fn put_folios(extent: Extent) {
    let mut at = extent.pfn();
    while at < extent.pfn() + extent.nr_pages() {
        let folio = Folio::from_pfn(at);
        at += folio.nr_pages();
    }
}
