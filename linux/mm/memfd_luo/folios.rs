// SPDX-License-Identifier: GPL-2.0-only

//! The folios of a memfd, preserved for the next kernel.

use crate::{
    abi::{ArraySer, FolioSer, PAGE_SIZE},
    array::OutgoingArray,
};
use kernel::{
    folio::{Folio, FolioRun},
    kho::extent::PreservedRun,
    prelude::*,
    shmem::Shmem,
};

/// The preserved folios of a file.
///
/// # Invariants
///
/// Each entry of the array, with the order of the same number, is a [`PreservedRun`] that this value
/// owns.
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

    /// Preserves a run, block by block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; a part of the run may be preserved then.
    pub(crate) fn add(&mut self, mut run: FolioRun) -> Result {
        loop {
            let rest = run.split_first();
            match rest {
                Some(block) => self.add_block(block)?,
                None => return self.add_block(run),
            }
        }
    }

    fn add_block(&mut self, block: FolioRun) -> Result {
        self.array.reserve()?;
        self.orders.reserve(1, GFP_KERNEL)?;
        let order = block.first_order();
        let (pfn, index, pages) = PreservedRun::new(block)?.into_parts();
        // INVARIANT: The run belongs to the entry from here on.
        self.orders.push(order as u8, GFP_KERNEL)?;
        self.array.push(FolioSer::new(pfn, index));
        self.pages += pages;
        Ok(())
    }

    /// Gives up all entries but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.array.len() > len {
            let (Some(entry), Some(order)) = (self.array.pop(), self.orders.pop()) else {
                break;
            };
            let pages = 1 << order;
            self.pages -= pages;
            // SAFETY: By the type invariant this is the run of the entry, which is gone now.
            drop(unsafe { PreservedRun::from_parts((entry.pfn(), entry.index, pages)) });
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

    /// Adds the folios of `file` that are not there yet. `known` is how many entries are in the order
    /// of the file.
    pub(crate) fn add_missing(&mut self, file: &Shmem<'_>) -> Result {
        let known = self.array.len();
        let mut position = 0;
        let mut run: Option<FolioRun> = None;
        let pages = file.size().div_ceil(PAGE_SIZE);
        let collected = file.for_each_folio(0..pages, |folio: Folio| {
            let index = folio.index();
            let at = loop {
                match self.end_of(position).filter(|_| position < known) {
                    Some((_, end)) if end <= index => position += 1,
                    at => break at,
                }
            };
            if at.is_some_and(|(start, _)| start <= index) {
                return Ok(());
            }
            let Some(current) = &mut run else {
                run = Some(FolioRun::new(folio));
                return Ok(());
            };
            match current.push(folio) {
                Ok(()) => Ok(()),
                Err(folio) => {
                    let full = run.replace(FolioRun::new(folio));
                    full.map_or(Ok(()), |full| self.add(full))
                }
            }
        });
        let added = collected.and_then(|()| run.take().map_or(Ok(()), |last| self.add(last)));
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
