// SPDX-License-Identifier: GPL-2.0-only

//! The folios of a memfd, preserved for the next kernel.

use crate::{
    abi::{ArraySer, FolioSer, PAGE_SIZE},
    array::OutgoingArray,
};
use kernel::{
    folio::{max_order, pages_share_node, put_folios, Folio},
    kho::extent::{preserve, unpreserve, RawExtent},
    prelude::*,
    shmem::Shmem,
};

/// How many blocks wait until KHO gets half of them at once.
const PENDING: usize = 64;

/// Pages that are to be one folio: aligned in memory and in the file.
#[derive(Clone, Copy)]
struct Block {
    pfn: u64,
    index: u64,
    order: u8,
}

impl Block {
    const NONE: Self = Self {
        pfn: 0,
        index: 0,
        order: 0,
    };

    /// Whether the two are halves of one block.
    fn is_buddy(&self, next: &Self) -> bool {
        let pages = 1 << self.order;
        next.order == self.order
            && next.pfn == self.pfn + pages
            && next.index == self.index + pages
            && (self.pfn | self.index) & pages == 0
    }
}

/// The preserved folios of a file.
///
/// # Invariants
///
/// Each entry of the array, with the order of the same number, is a block that KHO has from this
/// value. The first `nr_pending` of `pending` are blocks that follow. This value owns a reference to
/// each folio in any of them.
pub(crate) struct PreservedFolios {
    array: OutgoingArray,
    /// The format does not need the orders, since KHO has them. This kernel does, to unpreserve.
    orders: KVVec<u8>,
    pending: [Block; PENDING],
    nr_pending: usize,
    max_order: u8,
    pages: u64,
}

impl PreservedFolios {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            array: OutgoingArray::new(),
            orders: KVVec::new(),
            pending: [Block::NONE; PENDING],
            nr_pending: 0,
            max_order: max_order() as u8,
            pages: 0,
        }
    }

    /// Adds a folio, and makes it one block with those before it where that is possible.
    /// [`flush`](Self::flush) has to follow in the end.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn add(&mut self, folio: Folio, index: u64) -> Result {
        if self.nr_pending == PENDING {
            self.preserve(PENDING / 2)?;
        }
        let order = folio.order() as u8;
        let mut block = Block {
            pfn: folio.into_pfn(),
            index,
            order,
        };
        self.pages += 1 << order;
        while let Some(at) = self.nr_pending.checked_sub(1) {
            let before = self.pending[at];
            if !before.is_buddy(&block) || order_is_last(&before, self.max_order) {
                break;
            }
            block = Block {
                order: before.order + 1,
                ..before
            };
            self.nr_pending = at;
        }
        // INVARIANT: The reference is the block's from here on.
        self.pending[self.nr_pending] = block;
        self.nr_pending += 1;
        Ok(())
    }

    /// Preserves what was added.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn flush(&mut self) -> Result {
        self.preserve(self.nr_pending)
    }

    /// Preserves the first `count` blocks that are pending.
    fn preserve(&mut self, count: usize) -> Result {
        self.array.reserve(count)?;
        self.orders.reserve(count, GFP_KERNEL)?;
        let mut extents = [RawExtent::new(0, 0); PENDING];
        let blocks = &self.pending[..count];
        for (extent, block) in extents.iter_mut().zip(blocks) {
            *extent = RawExtent::new(block.pfn, block.order);
        }
        // SAFETY: By the type invariant they are ours, until they are unpreserved; none is larger than
        // what lies on one node.
        unsafe { preserve(&extents[..count]) }?;
        for block in blocks {
            // INVARIANT: The block goes from one list to the other.
            self.array.push(FolioSer::new(block.pfn, block.index))?;
            self.orders.push(block.order, GFP_KERNEL)?;
        }
        self.pending.copy_within(count..self.nr_pending, 0);
        self.nr_pending -= count;
        Ok(())
    }

    /// Gives up all entries but the first `len`, and what is pending.
    pub(crate) fn truncate(&mut self, len: usize) {
        for block in &self.pending[..self.nr_pending] {
            self.pages -= 1 << block.order;
            // SAFETY: By the type invariant the references are ours; the block is forgotten below.
            unsafe { put_folios(block.pfn, 1 << block.order) };
        }
        self.nr_pending = 0;
        while self.array.len() > len {
            let (Some(entry), Some(order)) = (self.array.pop(), self.orders.pop()) else {
                break;
            };
            self.pages -= 1 << order;
            // SAFETY: By the type invariant KHO has the block from us, and its references are ours. The
            // entry is gone.
            unsafe {
                unpreserve(&[RawExtent::new(entry.pfn(), order)]);
                put_folios(entry.pfn(), 1 << order);
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
        let added = file.for_each_folio(0..pages, |folio: Folio| {
            let index = folio.index();
            while position < known {
                match self.end_of(position) {
                    Some((_, end)) if end <= index => position += 1,
                    Some((start, _)) if start <= index => return Ok(()),
                    _ => break,
                }
            }
            self.add(folio, index)
        });
        let added = added.and_then(|()| self.flush());
        if added.is_err() {
            self.truncate(known);
        }
        added
    }
}

/// Whether a block cannot grow any more.
fn order_is_last(block: &Block, max_order: u8) -> bool {
    block.order >= max_order || !pages_share_node(block.pfn, 2 << block.order)
}

impl Drop for PreservedFolios {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
