// SPDX-License-Identifier: GPL-2.0-only

//! Memory while the kernel boots: what the previous kernel preserved is found and kept apart.

use crate::{
    error::{Result, code::*},
    host::ram::{Ram, Reservation},
};
use std::{cell::Cell, ops::Range, sync::Arc};

pub use crate::host::ram::{Table, Usage};

/// Struct pages are initialised, and memory is reserved, in blocks of so many pages (binary
/// logarithm), which the buddy allocator keeps apart from their neighbours.
pub const BLOCK_ORDER: u32 = 10;

/// What there is around a page, up to where something else begins.
#[derive(Clone)]
pub struct Area {
    /// The numbers of its pages.
    pub pfns: Range<u64>,
    /// Whether it is memory of one node that nobody has.
    pub is_free: bool,
}

/// A bit for each of many things.
pub struct Bitmap(Box<[Cell<u64>]>);

impl Bitmap {
    /// `len` bits, none of which is set.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new(len: u64) -> Result<Self> {
        let words = vec![Cell::new(0); len.div_ceil(64) as usize];
        Ok(Self(words.into()))
    }

    /// Whether a bit is set. There is none beyond the end.
    #[must_use]
    pub fn get(&self, bit: u64) -> bool {
        let word = self.0.get((bit / 64) as usize);
        word.is_some_and(|it| it.get() & (1 << (bit % 64)) != 0)
    }

    /// Sets a bit, unless it is beyond the end.
    pub fn set(&self, bit: u64) {
        if let Some(word) = self.0.get((bit / 64) as usize) {
            word.set(word.get() | (1 << (bit % 64)));
        }
    }

    /// The first bit from `from` on that is set.
    #[must_use]
    pub fn next(&self, from: u64) -> Option<u64> {
        (from..self.0.len() as u64 * 64).find(|it| self.get(*it))
    }
}

/// All memory.
pub struct Memory {
    ram: Arc<Ram>,
    touched: Bitmap,
}

impl Memory {
    /// All memory of a machine.
    ///
    /// # Panics
    ///
    /// Never here.
    #[must_use]
    pub fn of(ram: Arc<Ram>) -> Self {
        let touched = Bitmap::new((ram.end() >> BLOCK_ORDER) + 1).unwrap();
        Self { ram, touched }
    }

    /// The number of the first page that is behind all memory.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ram.end()
    }

    /// What there is around a page.
    #[must_use]
    pub fn area(&self, pfn: u64) -> Area {
        let (pfns, usage) = self.ram.area(pfn);
        let is_free = usage.is_none();
        Area { pfns, is_free }
    }

    /// What a page is that is not free.
    #[must_use]
    pub fn usage(&self, pfn: u64) -> Usage {
        self.ram.area(pfn).1.unwrap_or(Usage::Used)
    }

    /// The contents of a page that nobody has.
    #[must_use]
    pub fn table(&self, pfn: u64) -> Option<&Table> {
        self.area(pfn).is_free.then(|| self.ram.table(pfn))
    }

    /// The blocks whose struct pages are initialised.
    #[must_use]
    pub fn touched(&self) -> &Bitmap {
        &self.touched
    }

    /// Initialises the struct pages of a block.
    pub fn touch(&self, block: u64) {
        self.touched.set(block);
    }

    /// The mark of a page; 0 is none, and all that an untouched one has.
    #[must_use]
    pub fn mark(&self, pfn: u64) -> u64 {
        match self.touched.get(pfn >> BLOCK_ORDER) {
            true => self.ram.mark(pfn),
            false => 0,
        }
    }

    /// Marks a page, if it is touched.
    pub fn set_mark(&self, pfn: u64, mark: u64) {
        if self.touched.get(pfn >> BLOCK_ORDER) {
            self.ram.set_mark(pfn, mark);
        }
    }
}

/// The most ranges that are [kept](Kept).
pub const MAX_KEPT: usize = 2048;

/// Ranges of pages that the allocator does not get before they are released.
pub struct Kept(Vec<Unreleased>);

impl Kept {
    /// No range.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new() -> Result<Self> {
        Ok(Self(Vec::new()))
    }

    /// Keeps a range of free memory in touched blocks.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: it is not kept. `ENOSPC`: it is kept for ever.
    pub fn keep(&mut self, memory: &Memory, pfns: Range<u64>) -> Result {
        let area = memory.area(pfns.start);
        let mut blocks = pfns.start >> BLOCK_ORDER..((pfns.end - 1) >> BLOCK_ORDER) + 1;
        let is_free = area.is_free && pfns.end <= area.pfns.end;
        if !is_free || !blocks.all(|it| memory.touched.get(it)) {
            return Err(EINVAL);
        }
        let reservation = memory.ram.reserve(pfns.clone()).ok_or(ENOMEM)?;
        if self.0.len() == MAX_KEPT {
            return Err(ENOSPC);
        }
        self.0.push(Unreleased(pfns, reservation));
        Ok(())
    }

    /// The ranges, when the allocator is there.
    #[must_use]
    pub fn into_ranges(self) -> Vec<Unreleased> {
        self.0
    }
}

/// A range of pages that the allocator does not have.
pub struct Unreleased(Range<u64>, Reservation);

impl Unreleased {
    /// The numbers of the pages.
    #[must_use]
    pub fn pfns(&self) -> Range<u64> {
        self.0.clone()
    }

    /// The first page of `pfns` that has a mark, or the end.
    #[must_use]
    pub fn find_mark(&self, pfns: Range<u64>) -> u64 {
        let end = pfns.end.min(self.0.end);
        let mut pfns = pfns.start.max(self.0.start)..end;
        pfns.find(|it| self.mark(*it) != 0).unwrap_or(end)
    }

    /// The mark of a page; 0 if it is not one of these.
    #[must_use]
    pub fn mark(&self, pfn: u64) -> u64 {
        match self.0.contains(&pfn) {
            true => self.1.ram().mark(pfn),
            false => 0,
        }
    }

    /// Marks a page, if it is one of these.
    pub fn set_mark(&self, pfn: u64, mark: u64) {
        if self.0.contains(&pfn) {
            self.1.ram().set_mark(pfn, mark);
        }
    }

    /// Gives the pages up to `end` to the allocator.
    pub fn free_until(&mut self, end: u64) {
        let start = self.0.start;
        self.leave_until(end);
        self.1.ram().free(start..self.0.start);
    }

    /// Leaves the pages up to `end` to those who claim them.
    pub fn leave_until(&mut self, end: u64) {
        self.0.start = end.clamp(self.0.start, self.0.end);
    }
}
