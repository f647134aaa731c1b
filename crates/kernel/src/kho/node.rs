// SPDX-License-Identifier: GPL-2.0-only

//! Trees of pages, which this kernel writes and the next one reads.

use crate::{
    alloc::{GFP_KERNEL, try_alloc},
    error::{Result, code::*},
    host::ram::Table,
};
use std::{cell::RefCell, collections::BTreeMap, ops::Range};

const LEAF_BITS: u32 = 15;
const TABLE_BITS: u32 = 9;

/// A bit for each key that there can be: pages of addresses, and leaves of bits below them.
pub struct Tree {
    tables: RefCell<BTreeMap<u64, Box<Table>>>,
    level: u32,
}

impl Tree {
    /// Where the pages lie, one after the other.
    pub const FIRST_PFN: u64 = 0x1000;

    /// A tree of so many levels, without a bit that is set.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has no level. `ENOMEM`.
    pub fn new(levels: u32) -> Result<Self> {
        let tree = Self {
            tables: RefCell::default(),
            level: levels.checked_sub(1).ok_or(EINVAL)?,
        };
        tree.page()?;
        Ok(tree)
    }

    fn page(&self) -> Result<u64> {
        try_alloc(GFP_KERNEL)?;
        let mut tables = self.tables.borrow_mut();
        let pfn = Self::FIRST_PFN + tables.len() as u64;
        tables.insert(pfn, Box::new([0; 512]));
        Ok(pfn)
    }

    /// The address of the page at the top.
    #[must_use]
    pub fn phys(&self) -> u64 {
        Self::FIRST_PFN * 4096
    }

    /// What the next kernel finds, by the numbers of the pages.
    #[must_use]
    pub fn tables(&self) -> BTreeMap<u64, Box<Table>> {
        self.tables.borrow().clone()
    }

    fn descend(&self, key: u64, make: impl Fn() -> Result<u64>) -> Result<Leaf<'_>> {
        if key >> (LEAF_BITS + TABLE_BITS * self.level) != 0 {
            return Err(EINVAL);
        }
        let mut pfn = Self::FIRST_PFN;
        for level in (0..self.level).rev() {
            let index = (key >> (LEAF_BITS + TABLE_BITS * level)) as usize % 512;
            let address = self.tables.borrow()[&pfn][index];
            let child = match address {
                0 => make()?,
                address => address / 4096,
            };
            let mut tables = self.tables.borrow_mut();
            tables.get_mut(&pfn).unwrap()[index] = child * 4096;
            pfn = child;
        }
        Ok(Leaf(self, pfn))
    }

    /// The leaf with the bit of a key, if there is one.
    #[must_use]
    pub fn leaf(&self, key: u64) -> Option<Leaf<'_>> {
        self.descend(key, || Err(ENOENT)).ok()
    }

    /// The leaf with the bit of a key, which is made if it has to be.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such key. `ENOMEM`.
    pub fn grow(&self, key: u64) -> Result<Leaf<'_>> {
        self.descend(key, || self.page())
    }
}

/// The bits of a leaf.
#[derive(Clone, Copy)]
pub struct Leaf<'a>(&'a Tree, u64);

impl Leaf<'_> {
    /// How many there are (binary logarithm).
    pub const ORDER: u8 = LEAF_BITS as u8;

    /// Whether a bit is set.
    #[must_use]
    pub fn has(self, key: u64) -> bool {
        let (word, bit) = place(key);
        self.0.tables.borrow()[&self.1][word] & bit != 0
    }

    /// Sets or clears a bit.
    pub fn set(self, key: u64, value: bool) {
        let (word, bit) = place(key);
        let mut tables = self.0.tables.borrow_mut();
        let table = tables.get_mut(&self.1).unwrap();
        match value {
            true => table[word] |= bit,
            false => table[word] &= !bit,
        }
    }

    /// Sets the bits of `2^order` keys, aligned to that, if none is set. All of them are in the leaf.
    ///
    /// # Errors
    ///
    /// `EEXIST`: one is set. All are as they were.
    pub fn take(self, first: u64, order: u8) -> Result {
        if keys(first, order).any(|it| self.has(it)) {
            return Err(EEXIST);
        }
        keys(first, order).for_each(|it| self.set(it, true));
        Ok(())
    }

    /// Clears bits, as [`take`](Self::take) sets them.
    pub fn release(self, first: u64, order: u8) {
        keys(first, order).for_each(|it| self.set(it, false));
    }
}

fn place(key: u64) -> (usize, u64) {
    let bit = key % (1 << LEAF_BITS);
    ((bit / 64) as usize, 1 << (bit % 64))
}

/// Keys that are as they have to be.
fn keys(first: u64, order: u8) -> Range<u64> {
    assert!(order <= Leaf::ORDER && first.is_multiple_of(1 << order));
    first..first + (1 << order)
}
