// SPDX-License-Identifier: GPL-2.0-only

//! Extents of more than a page, and folios.

use crate::{
    alloc::{GFP_KERNEL, try_alloc},
    error::{Result, code::EINVAL},
    folio::{Folio, pages_share_node},
    host::machine,
};
use std::ops::Range;

/// Pages of a power of two in number, aligned to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pfn: u64,
    order: u8,
}

impl Extent {
    /// The first page.
    pub const FIRST: Self = Self::new(0, 0);

    /// `2^order` pages from `pfn` on.
    #[must_use]
    pub const fn new(pfn: u64, order: u8) -> Self {
        Self { pfn, order }
    }

    /// The number of the first page.
    #[must_use]
    pub const fn pfn(self) -> u64 {
        self.pfn
    }

    /// The binary logarithm of the number of pages.
    #[must_use]
    pub const fn order(self) -> u8 {
        self.order
    }

    /// The number of pages.
    #[must_use]
    pub const fn nr_pages(self) -> u64 {
        1 << self.order
    }

    /// The numbers of the pages.
    #[must_use]
    pub const fn pages(self) -> Range<u64> {
        self.pfn..self.pfn + self.nr_pages()
    }
}

/// Preserves extents for the next kernel, which finds one folio in the place of each.
///
/// # Errors
///
/// `ENOMEM`: none of them is preserved then.
///
/// # Panics
///
/// If one is not on one node.
///
/// # Safety
///
/// Each has to be on one node, of folios that the caller has references of and keeps until it is
/// unpreserved. Here the arena checks that.
pub unsafe fn preserve(extents: &[Extent]) -> Result {
    try_alloc(GFP_KERNEL)?;
    for it in extents {
        assert!(pages_share_node(it.pfn, it.pfn + it.nr_pages() - 1));
        machine::current().arena.lock().preserve(it.pfn, it.order);
    }
    Ok(())
}

/// Undoes [`preserve`].
///
/// # Safety
///
/// The extents have to be preserved, by the caller. Here the arena checks that.
pub unsafe fn unpreserve(extents: &[Extent]) {
    for it in extents {
        machine::current().arena.lock().unpreserve(it.pfn, it.order);
    }
}

/// Claims the folios that the previous kernel preserved at `pfns`, of an order up to `max_order`, and
/// puts each where there is the same number in `folios`. A folio can be claimed once.
///
/// # Errors
///
/// `EINVAL` if there is no such folio, or no place; those before it were claimed.
pub fn claim_folios(pfns: &[u64], max_order: u32, folios: &mut [Option<Folio>]) -> Result {
    for (nr, pfn) in pfns.iter().enumerate() {
        let place = folios.get_mut(nr).ok_or(EINVAL)?;
        let machine = machine::current();
        let claimed = machine.arena.lock().claim_folio(*pfn, max_order as u8);
        claimed.ok_or(EINVAL)?;
        *place = Some(Folio::from_pfn(*pfn));
    }
    Ok(())
}
