// SPDX-License-Identifier: GPL-2.0-only

//! Trees of pages, which this kernel writes and the next one reads.

use crate::{bindings, page::PAGE_SIZE, prelude::*};
use core::{cell::Cell, ptr::NonNull, slice};

/// The words of a page.
type Words = [Cell<u64>; PAGE_SIZE / 8];

/// Bits in a word (binary logarithm).
const WORD_ORDER: u8 = 6;
/// Bits of a key that a leaf resolves.
const LEAF_BITS: u32 = 15;
/// Bits of a key that a page of addresses resolves.
const TABLE_BITS: u32 = 9;

/// A bit for each key that there can be: pages of addresses, and leaves of bits below them.
///
/// # Invariants
///
/// The page is one of a level, and owned. A word of a page of a level above 0 is 0, or the address of an owned page of
/// the level below. `last` is a page of level 0, and its number among them.
pub struct Tree {
    root: NonNull<Words>,
    level: u32,
    last: Cell<Option<(u64, NonNull<Words>)>>,
}

// SAFETY: The pages are owned like the contents of a `Box`.
unsafe impl Send for Tree {}

/// A zeroed page that the next kernel can read.
fn page() -> Result<NonNull<Words>> {
    // SAFETY: No requirements.
    let folio = NonNull::new(unsafe { bindings::kho_alloc_folio(0) }).ok_or(ENOMEM)?;
    // SAFETY: It is one page, and ours.
    let page = unsafe { bindings::folio_address(folio.as_ptr()) };
    NonNull::new(page.cast()).ok_or(ENOMEM)
}

/// The word for a key, of a page of a level above 0.
fn index(key: u64, level: u32) -> usize {
    (key >> (LEAF_BITS + TABLE_BITS * (level - 1))) as usize % (1 << TABLE_BITS)
}

impl Tree {
    /// A tree of so many levels, without a bit that is set. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it has no level, or more than keys have bits. `ENOMEM`.
    pub fn new(levels: u32) -> Result<Self> {
        if !(1..=6).contains(&levels) {
            return Err(EINVAL);
        }
        // INVARIANT: All words are 0.
        Ok(Self {
            root: page()?,
            level: levels - 1,
            last: Cell::new(None),
        })
    }

    /// The address of the page at the top.
    pub fn phys(&self) -> u64 {
        // SAFETY: The page is one of the linear mapping.
        unsafe { bindings::kho_virt_to_phys(self.root.as_ptr().cast()) }
    }

    fn has(&self, key: u64) -> bool {
        key >> (LEAF_BITS + TABLE_BITS * self.level) == 0
    }

    #[inline]
    fn last(&self, key: u64) -> Option<Leaf<'_>> {
        let (number, words) = self.last.get()?;
        // SAFETY: By the type invariant.
        (number == key >> LEAF_BITS).then(|| Leaf(unsafe { words.as_ref() }))
    }

    /// The page that a word of a page of a level above 0 refers to.
    fn child(word: &Cell<u64>) -> Option<NonNull<Words>> {
        if word.get() == 0 {
            return None;
        }
        // SAFETY: By the type invariant it is an address of the linear mapping.
        NonNull::new(unsafe { bindings::kho_phys_to_virt(word.get()) }.cast())
    }

    /// Goes to the leaf of a key; `make` gives the page where there is none.
    #[inline(never)]
    fn descend(&self, key: u64, make: fn() -> Result<NonNull<Words>>) -> Result<Leaf<'_>> {
        if !self.has(key) {
            return Err(EINVAL);
        }
        let mut page = self.root;
        for level in (1..=self.level).rev() {
            // SAFETY: By the type invariant.
            let word = unsafe { &page.as_ref()[index(key, level)] };
            page = match Self::child(word) {
                Some(child) => child,
                None => {
                    let child = make()?;
                    // INVARIANT: All its words are 0, and the tree owns it from now on.
                    // SAFETY: The page is one of the linear mapping.
                    word.set(unsafe { bindings::kho_virt_to_phys(child.as_ptr().cast()) });
                    child
                }
            };
        }
        // INVARIANT: The way ended at level 0.
        self.last.set(Some((key >> LEAF_BITS, page)));
        // SAFETY: By the type invariant.
        Ok(Leaf(unsafe { page.as_ref() }))
    }

    /// The leaf with the bit of a key, if there is one.
    #[inline]
    pub fn leaf(&self, key: u64) -> Option<Leaf<'_>> {
        let last = self.last(key);
        last.or_else(|| self.descend(key, || Err(ENOENT)).ok())
    }

    /// The leaf with the bit of a key, which is made if it has to be. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such key. `ENOMEM`.
    #[inline]
    pub fn grow(&self, key: u64) -> Result<Leaf<'_>> {
        let last = self.last(key);
        last.map_or_else(|| self.descend(key, page), Ok)
    }

    /// Frees a page of a level, and those below it.
    ///
    /// # Safety
    ///
    /// It is one of a tree that is dropped.
    unsafe fn free(page: NonNull<Words>, level: u32) {
        if level > 0 {
            // SAFETY: It is still there.
            let children = unsafe { page.as_ref() }.iter().filter_map(Self::child);
            // SAFETY: They are one level below, in the same tree.
            children.for_each(|it| unsafe { Self::free(it, level - 1) });
        }
        // SAFETY: The caller's promise.
        unsafe { bindings::free_pages(page.as_ptr() as usize, 0) };
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { Self::free(self.root, self.level) };
    }
}

/// The bits of a leaf.
#[derive(Clone, Copy)]
pub struct Leaf<'a>(&'a Words);

impl<'a> Leaf<'a> {
    /// How many there are (binary logarithm).
    pub const ORDER: u8 = LEAF_BITS as u8;

    /// The word that the bit of a key is in, and the bit.
    #[inline]
    fn bit(self, key: u64) -> (&'a Cell<u64>, u64) {
        (&self.0[(key / 64) as usize % self.0.len()], 1 << (key % 64))
    }

    /// The words that the bits of some keys are in, and which bits of each.
    #[inline]
    fn words(self, first: u64, order: u8) -> (&'a [Cell<u64>], u64) {
        if order < WORD_ORDER {
            let ones = u64::MAX >> (64 - (1 << order));
            return (slice::from_ref(self.bit(first).0), ones << (first % 64));
        }
        let index = (first / 64) as usize % self.0.len();
        let end = index + (1 << (order - WORD_ORDER).min(Self::ORDER - WORD_ORDER));
        (&self.0[index..end.min(self.0.len())], u64::MAX)
    }

    /// Whether a bit is set.
    #[inline]
    pub fn has(self, key: u64) -> bool {
        let (word, bit) = self.bit(key);
        word.get() & bit != 0
    }

    /// Sets or clears a bit.
    #[inline]
    pub fn set(self, key: u64, value: bool) {
        let (word, bit) = self.bit(key);
        word.set(match value {
            true => word.get() | bit,
            false => word.get() & !bit,
        });
    }

    /// Sets the bits of `2^order` keys, aligned to that, if none is set. All of them are in the leaf.
    ///
    /// # Errors
    ///
    /// `EEXIST`: one is set. All are as they were.
    #[inline]
    pub fn take(self, first: u64, order: u8) -> Result {
        let (words, mask) = self.words(first, order);
        // All of them, in fewer instructions than up to the first that is set: usually there is none.
        if words.iter().fold(0, |set, it| set | it.get()) & mask != 0 {
            return Err(EEXIST);
        }
        words.iter().for_each(|it| it.set(it.get() | mask));
        Ok(())
    }

    /// Clears bits, as [`take`](Self::take) sets them.
    #[inline]
    pub fn release(self, first: u64, order: u8) {
        let (words, mask) = self.words(first, order);
        words.iter().for_each(|it| it.set(it.get() & !mask));
    }
}
