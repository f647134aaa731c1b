// SPDX-License-Identifier: GPL-2.0-only

//! The folios of a memfd, preserved for the next kernel.

use crate::{
    abi::{ArraySer, FolioSer, PAGE_SIZE},
    array::OutgoingArray,
};
use kernel::{
    folio::{max_order, pages_share_node, put_folios, PlacedFolio},
    kho::extent::{preserve, unpreserve, Extent},
    prelude::*,
    shmem::Shmem,
};

/// How many blocks a [`Collector`] has room for; KHO gets half of them at once.
const PENDING: usize = 32;

/// The preserved folios of a file.
///
/// # Invariants
///
/// Each entry of the array, with the order of the same number, is a block that KHO has from this
/// value, with a reference to each folio in it.
pub(crate) struct PreservedFolios {
    array: OutgoingArray,
    /// The format does not need the orders, since KHO has them. This kernel does, to unpreserve.
    orders: KVVec<u8>,
    pages: u64,
}

impl PreservedFolios {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            array: OutgoingArray::new(),
            orders: KVVec::new(),
            pages: 0,
        }
    }

    /// Adds folios.
    pub(crate) fn collect(&mut self) -> Collector<'_> {
        Collector {
            preserved: self,
            extents: [Extent::FIRST; PENDING],
            indices: [0; PENDING],
            nr: 0,
            max_order: max_order() as u8,
        }
    }

    /// Gives up all entries but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.array.len() > len {
            let (Some(entry), Some(order)) = (self.array.pop(), self.orders.pop()) else {
                break;
            };
            let extent = Extent::new(entry.pfn(), order);
            self.pages -= extent.nr_pages();
            // SAFETY: By the type invariant KHO has the block from us, and its references are ours. The
            // entry is gone.
            unsafe {
                unpreserve(&[extent]);
                put_folios(extent);
            }
        }
    }

    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.array.len()
    }

    /// Pages in all entries.
    pub(crate) const fn nr_pages(&self) -> u64 {
        self.pages
    }

    /// How the next kernel finds them: how many, and where.
    pub(crate) fn describe(&self) -> (u64, ArraySer) {
        (self.len() as u64, self.array.describe())
    }

    /// The pages of the file that entry `position` holds.
    fn end_of(&self, position: usize) -> Option<(u64, u64)> {
        let entry = self.array.get(position)?;
        Some((entry.index, entry.index + (1 << self.orders.get(position)?)))
    }

    /// Adds the folios of `file` that are not there yet. Those that are there are in the order of the
    /// file.
    pub(crate) fn add_missing(&mut self, file: &Shmem<'_>) -> Result {
        let known = self.array.len();
        let mut position = 0;
        let pages = file.size().div_ceil(PAGE_SIZE);
        let mut collector = self.collect();
        let added = file.for_each_folio(0..pages, |folio| {
            let index = folio.index();
            while position < known {
                match collector.preserved.end_of(position) {
                    Some((_, end)) if end <= index => position += 1,
                    Some((start, _)) if start <= index => return Ok(()),
                    _ => break,
                }
            }
            collector.add(folio)
        });
        let added = added.and_then(|()| collector.finish());
        if added.is_err() {
            self.truncate(known);
        }
        added
    }
}

impl Drop for PreservedFolios {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

/// Makes neighbours one block where that is possible, and preserves them, many at once.
///
/// What is not preserved when it is dropped is given back.
///
/// # Invariants
///
/// The first `nr` extents are blocks with a reference to each folio in them that is this value's.
pub(crate) struct Collector<'a> {
    preserved: &'a mut PreservedFolios,
    extents: [Extent; PENDING],
    indices: [u64; PENDING],
    nr: usize,
    max_order: u8,
}

impl Collector<'_> {
    /// Adds a folio. [`finish`](Self::finish) has to follow in the end.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn add(&mut self, folio: PlacedFolio) -> Result {
        if self.nr == PENDING {
            self.preserve(PENDING / 2)?;
        }
        let index = folio.index();
        let extent = folio.into_extent();
        // INVARIANT: The reference is the block's from here on.
        (self.extents[self.nr], self.indices[self.nr]) = (extent, index);
        self.nr += 1;
        // Only the second half of a larger block may complete one.
        if extent.pfn() & index & extent.nr_pages() != 0 {
            self.merge();
        }
        Ok(())
    }

    /// Makes the last two blocks one as long as they are halves of one: of the same order, in memory
    /// as in the file, and where KHO and the page cache can have it.
    fn merge(&mut self) {
        while let Some(last) = self.nr.checked_sub(1).filter(|it| *it > 0) {
            let (first, second) = (self.extents[last - 1], self.extents[last]);
            let (order, pages) = (first.order(), first.nr_pages());
            if order >= self.max_order {
                break;
            }
            let are_halves = second.order() == order
                && first.pfn() & pages == 0
                && first.pfn() | pages == second.pfn()
                && self.indices[last - 1] & pages == 0
                && self.indices[last - 1] | pages == self.indices[last];
            if !are_halves || !pages_share_node(first.pfn(), second.pfn() + pages - 1) {
                break;
            }
            // INVARIANT: The new block has the folios of both.
            self.extents[last - 1] = Extent::new(first.pfn(), order + 1);
            self.nr = last;
        }
    }

    /// Preserves what was added.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn finish(mut self) -> Result {
        self.preserve(self.nr)
    }

    /// Preserves the first `count` blocks.
    fn preserve(&mut self, count: usize) -> Result {
        let PreservedFolios {
            array,
            orders,
            pages,
        } = &mut *self.preserved;
        array.reserve(count)?;
        orders.reserve(count, GFP_KERNEL)?;
        // SAFETY: By the type invariant they are ours, until they are unpreserved; none is larger than
        // what lies on one node.
        unsafe { preserve(&self.extents[..count]) }?;
        for (extent, index) in self.extents.iter().zip(&self.indices).take(count) {
            // INVARIANT: The block goes from one list to the other.
            array.push(FolioSer::new(extent.pfn(), *index))?;
            orders.push_within_capacity(extent.order())?;
            *pages += extent.nr_pages();
        }
        self.extents.copy_within(count..self.nr, 0);
        self.indices.copy_within(count..self.nr, 0);
        self.nr -= count;
        Ok(())
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        for extent in &self.extents[..self.nr] {
            // SAFETY: By the type invariant the references are ours.
            unsafe { put_folios(*extent) };
        }
    }
}
