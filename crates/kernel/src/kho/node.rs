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
    /// How many there are.
    pub const NR_BITS: u64 = 1 << LEAF_BITS;

    /// Whether one of some bits is set: those of a power of two of keys, aligned to it, all of which are in the leaf.
    #[must_use]
    pub fn any(self, keys: &Range<u64>) -> bool {
        let tables = self.0.tables.borrow();
        checked(keys).any(|(word, bit)| tables[&self.1][word] & bit != 0)
    }

    /// Sets or clears bits, as for [`any`](Self::any).
    pub fn set(self, keys: &Range<u64>, value: bool) {
        let mut tables = self.0.tables.borrow_mut();
        let table = tables.get_mut(&self.1).unwrap();
        for (word, bit) in checked(keys) {
            match value {
                true => table[word] |= bit,
                false => table[word] &= !bit,
            }
        }
    }
}

/// The words and bits of keys that are as they have to be.
fn checked(keys: &Range<u64>) -> impl Iterator<Item = (usize, u64)> + use<> {
    let nr = keys.end - keys.start;
    assert!(nr.is_power_of_two() && nr <= Leaf::NR_BITS && keys.start.is_multiple_of(nr));
    let places = keys.clone().map(|it| it % Leaf::NR_BITS);
    places.map(|it| ((it / 64) as usize, 1 << (it % 64)))
}
