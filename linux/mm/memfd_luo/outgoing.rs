// SPDX-License-Identifier: GPL-2.0-only

//! A memfd that is preserved for the next kernel.
//!
//! Its folios are referenced, so that they stay where they are, and neighbours in memory and in the
//! file are handed over as one folio. Holes stay holes: pages that appear later are added by
//! [`Outgoing::freeze`].

use crate::{
    abi::{
        FolioSer, MemfdSer, ALL_SEALS, PAGE_SIZE, SEALS_OF_EXECUTABLE, SEAL_EXEC, SEAL_FUTURE_WRITE,
    },
    array::OutgoingArray,
    not_supported,
};
use kernel::{
    folio::{Folio, FolioRun},
    kho::{extent::PreservedRun, PhysAddr, Preserved},
    prelude::*,
    shmem::Shmem,
};

/// The preserved folios of a file.
///
/// # Invariants
///
/// Each entry of the array, with the order of the same number, is a [`PreservedRun`] that this value
/// owns.
struct Folios {
    array: OutgoingArray,
    /// The format does not need the orders, since KHO has them. This kernel does, to unpreserve.
    orders: KVVec<u8>,
    /// Pages in all entries.
    pages: u64,
}

impl Folios {
    const fn new() -> Self {
        Self {
            array: OutgoingArray::new(),
            orders: KVVec::new(),
            pages: 0,
        }
    }

    /// Preserves a run, block by block.
    fn add(&mut self, mut run: FolioRun) -> Result {
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
    fn truncate(&mut self, len: usize) {
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

    /// The pages of the file that entry `position` holds.
    fn end_of(&self, position: usize) -> Option<(u64, u64)> {
        let entry = self.array.get(position)?;
        Some((entry.index, entry.index + (1 << self.orders.get(position)?)))
    }

    /// Adds the folios of `file` that are not there yet. `known` is how many entries are in the order
    /// of the file.
    fn add_missing(&mut self, file: &Shmem<'_>) -> Result {
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

impl Drop for Folios {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

/// A preserved memfd. Dropping it unpreserves its pages.
pub(crate) struct Outgoing {
    folios: Folios,
    ser: Preserved<MemfdSer>,
    /// How many entries there were before [`freeze`](Self::freeze).
    first: usize,
}

impl Outgoing {
    /// Preserves a file. May take long.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for seals that the format cannot carry; `ENOMEM`; `EIO`, `EHWPOISON`; `EINTR` if
    /// the task is killed. Nothing has changed then.
    pub(crate) fn new(file: &Shmem<'_>) -> Result<KBox<Self>> {
        file.freeze()?;
        let preserved = Self::new_frozen(file);
        if preserved.is_err() {
            file.unfreeze();
        }
        preserved
    }

    fn new_frozen(file: &Shmem<'_>) -> Result<KBox<Self>> {
        let mut this = KBox::new(
            Self {
                folios: Folios::new(),
                ser: Preserved::new()?,
                first: 0,
            },
            GFP_KERNEL,
        )?;
        this.folios.add_missing(file)?;
        this.first = this.folios.array.len();
        this.describe(file)?;
        Ok(this)
    }

    /// Writes down what may have changed.
    fn describe(&mut self, file: &Shmem<'_>) -> Result {
        let nr_folios = self.folios.array.len() as u64;
        *self.ser = MemfdSer {
            pos: file.pos(),
            size: file.size(),
            seals: seals_of(file)?,
            flags: 0,
            nr_folios,
            folios: self.folios.array.describe(),
        };
        Ok(())
    }

    /// Where the next kernel finds it.
    pub(crate) fn phys(&self) -> PhysAddr {
        self.ser.phys()
    }

    /// Last call before the jump: adds pages that have appeared, seals and the position.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the file is then as it was.
    pub(crate) fn freeze(&mut self, file: &Shmem<'_>) -> Result {
        file.freeze_contents();
        let added = if file.nr_pages() == self.folios.pages {
            Ok(())
        } else {
            self.folios.add_missing(file)
        };
        let frozen = added.and_then(|()| self.describe(file));
        if frozen.is_err() {
            self.unfreeze(file);
        }
        frozen
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn unfreeze(&mut self, file: &Shmem<'_>) {
        self.folios.truncate(self.first);
        file.unfreeze_contents();
    }

    /// Undoes [`new`](Self::new).
    pub(crate) fn unpreserve(this: KBox<Self>, file: &Shmem<'_>) {
        drop(this);
        file.unfreeze();
    }
}

/// The seals as they are handed over.
///
/// The format does not say whether a file may be executed. A file that may be has, with
/// `F_SEAL_EXEC`, all seals of [`SEALS_OF_EXECUTABLE`]; one that may not be, and has all of them too,
/// is told from it by leaving out the one that says nothing beside `F_SEAL_WRITE`.
fn seals_of(file: &Shmem<'_>) -> Result<u32> {
    let seals = file.seals()?;
    if seals & !ALL_SEALS != 0 {
        return Err(not_supported());
    }
    let ambiguous = seals & SEALS_OF_EXECUTABLE == SEALS_OF_EXECUTABLE;
    Ok(if ambiguous && !file.is_executable() {
        seals & !SEAL_FUTURE_WRITE
    } else {
        seals
    })
}

/// Whether a file with these seals, as they were handed over, may be executed.
pub(crate) const fn is_executable(seals: u32) -> bool {
    seals & SEAL_EXEC == 0 || seals & SEALS_OF_EXECUTABLE == SEALS_OF_EXECUTABLE
}
