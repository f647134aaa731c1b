// SPDX-License-Identifier: GPL-2.0-only

//! Memory while the kernel boots, before its allocator has it: what the previous kernel preserved
//! is found and kept apart.
//!
//! C header: [`include/linux/kho_boot.h`](srctree/include/linux/kho_boot.h)

use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic},
};
use core::{cell::Cell, ops::Range, ptr::NonNull, slice};

/// Struct pages are initialised, and memory is reserved, in blocks of so many pages (binary
/// logarithm), which the buddy allocator keeps apart from their neighbours.
pub const BLOCK_ORDER: u32 = bindings::KHO_BOOT_BLOCK_ORDER;

/// A page of numbers.
pub type Table = [u64; PAGE_SIZE / 8];

/// What there is around a page, up to where something else begins.
#[derive(Clone)]
pub struct Area {
    /// The numbers of its pages.
    pub pfns: Range<u64>,
    /// Whether it is memory of one node that nobody has.
    pub is_free: bool,
}

/// What a page is that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// No memory, or none that the kernel knew when it booted.
    Absent,
    /// Memory that the kernel that boots allocates.
    Scratch,
    /// Memory that somebody has.
    Used,
}

/// A bit for each of many things.
///
/// # Invariants
///
/// The pointer and the number are those of words that are owned, and came from `kho_boot_alloc()`.
pub struct Bitmap(NonNull<Cell<u64>>, usize);

impl Bitmap {
    /// `len` bits, none of which is set.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(len: u64) -> Result<Self> {
        let nr_words = len.div_ceil(64).max(1) as usize;
        // SAFETY: No requirements, at boot.
        let words = unsafe { bindings::kho_boot_alloc(8 * nr_words) };
        // INVARIANT: They are new.
        Ok(Self(NonNull::new(words.cast()).ok_or(ENOMEM)?, nr_words))
    }

    fn words(&self) -> &[Cell<u64>] {
        // SAFETY: By the type invariant. What they were allocated as is zeroed.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), self.1) }
    }

    /// Whether a bit is set. There is none beyond the end.
    #[inline]
    pub fn get(&self, bit: u64) -> bool {
        let word = self.words().get((bit / 64) as usize);
        word.is_some_and(|it| it.get() & 1 << (bit % 64) != 0)
    }

    /// Sets a bit, unless it is beyond the end.
    pub fn set(&self, bit: u64) {
        if let Some(word) = self.words().get((bit / 64) as usize) {
            word.set(word.get() | 1 << (bit % 64));
        }
    }

    /// The first bit from `from` on that is set.
    pub fn next(&self, from: u64) -> Option<u64> {
        let first = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in self.words().iter().enumerate().skip(first) {
            let bits = word.get() & mask;
            if bits != 0 {
                return Some(index as u64 * 64 + u64::from(bits.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody has a reference.
        unsafe { bindings::kho_boot_free(self.0.as_ptr().cast(), 8 * self.1) };
    }
}

/// All memory, while memblock has it.
///
/// # Invariants
///
/// The kernel boots on one processor, memblock is complete, and allocates where nothing is
/// preserved. The struct pages of blocks in `touched` are initialised.
pub struct Memory {
    end: u64,
    touched: Bitmap,
}

impl Memory {
    /// All memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The kernel boots on one processor, the boot allocator is not yet replaced by another, gives
    /// out scratch memory only, and knows all memory there is.
    pub unsafe fn at_boot() -> Result<Self> {
        // SAFETY: The caller's promise.
        let end = unsafe { bindings::kho_boot_end() };
        let touched = Bitmap::new((end >> BLOCK_ORDER) + 1)?;
        // INVARIANT: The caller's promise; no block is touched.
        Ok(Self { end, touched })
    }

    /// The number of the first page that is behind all memory.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What there is around a page.
    pub fn area(&self, pfn: u64) -> Area {
        let mut area = bindings::kho_boot_area::default();
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_area(pfn, &mut area) };
        Area {
            pfns: area.start..area.end,
            is_free: area.is_free,
        }
    }

    /// What a page is that is not free.
    pub fn usage(&self, pfn: u64) -> Usage {
        // SAFETY: By the type invariant.
        match unsafe { bindings::kho_boot_use(pfn) } {
            bindings::kho_boot_use_KHO_BOOT_ABSENT => Usage::Absent,
            bindings::kho_boot_use_KHO_BOOT_SCRATCH => Usage::Scratch,
            _ => Usage::Used,
        }
    }

    /// The contents of a page that nobody has.
    pub fn table(&self, pfn: u64) -> Option<&Table> {
        let area = self.area(pfn);
        if !area.is_free || !area.pfns.contains(&pfn) {
            return None;
        }
        // SAFETY: It is memory, so it is in the linear mapping. Nobody has it, and by the type
        // invariant nobody gets it before `self` is gone, so nobody writes to it.
        Some(unsafe { &*bindings::kho_boot_table(pfn).cast() })
    }

    /// Has the boot allocator use a range, in which nothing is preserved.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// No table is there, and nothing preserved.
    pub unsafe fn add_scratch(&self, pfns: Range<u64>) -> Result {
        // SAFETY: The caller's promise, and the type invariant.
        to_result(unsafe { bindings::kho_boot_mark_scratch(pfns.start, pfns.end) })
    }

    /// The blocks whose struct pages are initialised.
    #[inline]
    pub fn touched(&self) -> &Bitmap {
        &self.touched
    }

    #[inline]
    fn is_touched(&self, block: u64) -> bool {
        self.touched.get(block)
    }

    /// Initialises the struct pages of a block.
    pub fn touch(&self, block: u64) {
        if self.is_touched(block) {
            return;
        }
        // SAFETY: By the type invariant; only those that are memory are touched.
        unsafe { bindings::kho_boot_init_pages(block << BLOCK_ORDER, (block + 1) << BLOCK_ORDER) };
        self.touched.set(block);
    }

    /// The mark of a page; 0 is none, and all that an untouched one has.
    #[inline]
    pub fn mark(&self, pfn: u64) -> u64 {
        if !self.is_touched(pfn >> BLOCK_ORDER) {
            return 0;
        }
        // SAFETY: The struct page is initialised.
        unsafe { bindings::kho_boot_mark(pfn) }
    }

    /// Marks a page, if it is touched.
    #[inline]
    pub fn set_mark(&self, pfn: u64, mark: u64) {
        if self.is_touched(pfn >> BLOCK_ORDER) {
            // SAFETY: The struct page is initialised. The field is nobody's, while memblock has
            // the page.
            unsafe { bindings::kho_boot_set_mark(pfn, mark) };
        }
    }
}

/// The most ranges that are [kept](Kept).
pub const MAX_KEPT: usize = bindings::KHO_BOOT_MAX_KEPT as usize;

/// Whether somebody has [`Kept`].
static KEPT_IS_TAKEN: Atomic<bool> = Atomic::new(false);

/// Ranges of pages that the allocator does not get before [`release`](Self::release).
///
/// # Invariants
///
/// There is one. Its first word says how many ranges there are; behind it are their bounds: those of
/// free memory, in touched blocks, that is reserved.
pub struct Kept(&'static [Cell<u64>; 1 + 2 * MAX_KEPT]);

impl Kept {
    /// No range.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there is one already.
    pub fn new() -> Result<Self> {
        if KEPT_IS_TAKEN.xchg(true, Relaxed) {
            return Err(EBUSY);
        }
        // SAFETY: The words are of that number, zero, and there until the kernel has booted; nobody else has them.
        // INVARIANT: There was none before.
        Ok(Self(unsafe { &*bindings::kho_boot_kept().cast() }))
    }

    /// Keeps a range of free memory in touched blocks.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: it is not kept. `ENOSPC`: it is kept for ever.
    pub fn keep(&mut self, memory: &Memory, pfns: Range<u64>) -> Result {
        let area = memory.area(pfns.start);
        let mut blocks = pfns.start >> BLOCK_ORDER..(pfns.end - 1 >> BLOCK_ORDER) + 1;
        let is_free = area.is_free && pfns.end <= area.pfns.end;
        if !is_free || !blocks.all(|it| memory.is_touched(it)) {
            return Err(EINVAL);
        }
        // SAFETY: `Memory` proves that the kernel boots.
        to_result(unsafe { bindings::kho_boot_reserve(pfns.start, pfns.end) })?;
        let [len, bounds @ ..] = self.0;
        let Some([start, end]) = bounds.chunks_exact(2).nth(len.get() as usize) else {
            return Err(ENOSPC);
        };
        start.set(pfns.start);
        end.set(pfns.end);
        // INVARIANT: It was free and touched, and is reserved.
        len.set(len.get() + 1);
        Ok(())
    }

    /// Calls `look` with each range that was kept.
    ///
    /// # Safety
    ///
    /// It is called once: when memblock has handed over to the allocator, and before there is a second
    /// processor.
    pub unsafe fn release(mut look: impl FnMut(Unreleased)) {
        // SAFETY: As in `new`; by the caller's promise nothing is kept any more.
        let Self([len, bounds @ ..]) = Self(unsafe { &*bindings::kho_boot_kept().cast() });
        for bounds in bounds.chunks_exact(2).take(len.get() as usize) {
            // INVARIANT: By that of `Kept`.
            look(Unreleased(bounds[0].get()..bounds[1].get()));
        }
    }
}

/// A range of pages that the allocator does not have.
///
/// # Invariants
///
/// Their struct pages are initialised, and nobody uses the pages or the struct pages.
pub struct Unreleased(Range<u64>);

impl Unreleased {
    /// The numbers of the pages.
    pub fn pfns(&self) -> Range<u64> {
        self.0.clone()
    }

    /// The first page of `pfns` that has a mark, or the end.
    pub fn find_mark(&self, pfns: Range<u64>) -> u64 {
        let end = pfns.end.min(self.0.end);
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_find_mark(pfns.start.max(self.0.start), end) }
    }

    /// The mark of a page; 0 if it is not one of these.
    pub fn mark(&self, pfn: u64) -> u64 {
        if !self.0.contains(&pfn) {
            return 0;
        }
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_mark(pfn) }
    }

    /// Marks a page, if it is one of these.
    pub fn set_mark(&self, pfn: u64, mark: u64) {
        if self.0.contains(&pfn) {
            // SAFETY: By the type invariant.
            unsafe { bindings::kho_boot_set_mark(pfn, mark) };
        }
    }

    /// Takes pages off the front, up to `end`.
    fn split(&mut self, end: u64) -> Range<u64> {
        let end = end.clamp(self.0.start, self.0.end);
        let taken = self.0.start..end;
        self.0.start = end;
        taken
    }

    /// Gives the pages up to `end` to the allocator.
    pub fn free_until(&mut self, end: u64) {
        let pfns = self.split(end);
        if !pfns.is_empty() {
            // SAFETY: By the type invariant, and they are no longer part of it.
            unsafe { bindings::kho_boot_release(pfns.start, pfns.end) };
        }
    }

    /// Leaves the pages up to `end` to those who claim them.
    pub fn leave_until(&mut self, end: u64) {
        self.split(end);
    }
}
