// SPDX-License-Identifier: GPL-2.0-only

//! Trees of pages, which this kernel writes and the next one reads.

use crate::{
    alloc::{flags::__GFP_ZERO, AllocError, Flags},
    bindings,
    page::PAGE_SIZE,
    prelude::*,
};
use core::{cell::Cell, ops::Range, ptr::NonNull};

/// The words of a page.
type Words = [Cell<u64>; PAGE_SIZE / 8];

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

fn page() -> Result<NonNull<Words>> {
    const FLAGS: Flags = GFP_KERNEL;
    // SAFETY: No requirements.
    let page = unsafe { bindings::get_zeroed_page_noprof((FLAGS | __GFP_ZERO).as_raw()) };
    NonNull::new(page as *mut Words).ok_or(AllocError.into())
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
    fn descend(&self, key: u64, make: impl Fn() -> Result<NonNull<Words>>) -> Result<Leaf<'_>> {
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
    /// How many there are.
    pub const NR_BITS: u64 = 1 << LEAF_BITS;

    /// The words that the bits of some keys are in, and which bits of each. There is a power of two of keys, aligned to it.
    #[inline]
    fn words(self, keys: &Range<u64>) -> (&'a [Cell<u64>], u64) {
        let first = (keys.start % Self::NR_BITS) as usize;
        let nr = (keys.end - keys.start) as usize;
        let mask = u64::MAX >> (64 - nr.clamp(1, 64)) << (first % 64);
        let words = first / 64..(first / 64 + nr.div_ceil(64)).min(self.0.len());
        (&self.0[words], mask)
    }

    /// Whether one of some bits is set: those of a power of two of keys, aligned to it, all of which are in the leaf.
    #[inline]
    pub fn any(self, keys: &Range<u64>) -> bool {
        let (words, mask) = self.words(keys);
        words.iter().any(|it| it.get() & mask != 0)
    }

    /// Sets or clears bits, as for [`any`](Self::any).
    #[inline]
    pub fn set(self, keys: &Range<u64>, value: bool) {
        let (words, mask) = self.words(keys);
        for it in words {
            it.set(match value {
                true => it.get() | mask,
                false => it.get() & !mask,
            });
        }
    }
}
