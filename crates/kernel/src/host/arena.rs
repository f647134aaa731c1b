// SPDX-License-Identifier: GPL-2.0-only

//! Physical pages.

use super::machine;
use crate::{
    alloc::{GFP_KERNEL, try_alloc},
    error::Result,
    folio::pages_share_node,
};
use core::ptr::NonNull;
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// The size of a page.
pub const PAGE_SIZE: usize = 4096;

/// Where memory begins: 0 is no address.
const BASE: u64 = 0x10_0000;

#[repr(C, align(4096))]
struct Page([u8; PAGE_SIZE]);

/// Who a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// This kernel.
    Owned,
    /// This kernel, until the next one starts.
    Preserved,
    /// The previous kernel preserved it, and nobody has claimed it yet.
    Inherited,
}

struct Frame {
    page: NonNull<Page>,
    state: State,
}

// SAFETY: The frame owns the page; what others do with its bytes is up to the owner of the page.
unsafe impl Send for Frame {}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: The page came from `Box::into_raw`, and only the frame frees it.
        drop(unsafe { Box::from_raw(self.page.as_ptr()) });
    }
}

/// A folio that somebody has references to.
struct FolioRefs {
    order: u8,
    refs: usize,
}

/// All pages that are in use. No address is used twice, so that a stale one is never valid.
#[derive(Default)]
pub(crate) struct Arena {
    frames: BTreeMap<u64, Frame>,
    used: u64,
    /// What the next kernel is told of: orders by the number of the first page.
    preserved: BTreeMap<u64, u8>,
    /// What the previous kernel has told of, and nobody has claimed.
    inherited: BTreeMap<u64, u8>,
    /// By the number of the first page.
    folios: BTreeMap<u64, FolioRefs>,
}

/// The addresses of the pages of a block.
fn pages(pfn: u64, order: u8) -> impl Iterator<Item = u64> {
    (pfn..pfn + (1 << order)).map(|it| it * PAGE_SIZE as u64)
}

impl Arena {
    /// The next address that is aligned to a block of this order, on one node; pages up to it stay unused.
    fn alloc(&mut self, order: u8) -> u64 {
        let mut first = (BASE / PAGE_SIZE as u64 + self.used).next_multiple_of(1 << order);
        while !pages_share_node(first, first + (1 << order) - 1) {
            first += 1 << order;
        }
        self.used = first + (1 << order) - BASE / PAGE_SIZE as u64;
        for pa in pages(first, order) {
            let page = NonNull::from(Box::leak(Box::new(Page([0; PAGE_SIZE]))));
            let state = State::Owned;
            self.frames.insert(pa, Frame { page, state });
        }
        first
    }

    /// Moves the pages of a block from one state to another.
    fn step(&mut self, pfn: u64, order: u8, from: State, to: State) {
        for pa in pages(pfn, order) {
            let frame = self.frames.get_mut(&pa).filter(|it| it.state == from);
            let frame = frame.unwrap_or_else(|| panic!("page {pa:#x} is not {from:?}"));
            frame.state = to;
        }
    }

    /// Preserves a block for the next kernel.
    pub(crate) fn preserve(&mut self, pfn: u64, order: u8) {
        assert_eq!(pfn % (1 << order), 0, "not aligned");
        self.step(pfn, order, State::Owned, State::Preserved);
        self.preserved.insert(pfn, order);
    }

    /// Undoes [`preserve`](Self::preserve).
    pub(crate) fn unpreserve(&mut self, pfn: u64, order: u8) {
        assert_eq!(self.preserved.remove(&pfn), Some(order), "page {pfn:#x}");
        self.step(pfn, order, State::Preserved, State::Owned);
    }

    /// Takes a block of at most this order over from the previous kernel, if there is one and nobody has it.
    fn claim(&mut self, pfn: u64, max_order: u8) -> Option<u8> {
        let order = *self.inherited.get(&pfn).filter(|it| **it <= max_order)?;
        self.inherited.remove(&pfn);
        self.step(pfn, order, State::Inherited, State::Owned);
        Some(order)
    }

    fn free(&mut self, pfn: u64, order: u8) {
        for pa in pages(pfn, order) {
            let freed = self.frames.remove(&pa);
            assert!(freed.is_some(), "page {pa:#x} is freed twice");
        }
        self.preserved.remove(&pfn);
    }

    /// Leaves pages unused.
    pub(crate) fn skip(&mut self, pages: u64) {
        self.used += pages;
    }

    /// A new folio, with one reference; gives the number of its first page.
    pub(crate) fn alloc_folio(&mut self, order: u8) -> u64 {
        let pfn = self.alloc(order);
        self.folios.insert(pfn, FolioRefs { order, refs: 1 });
        pfn
    }

    /// As [`claim`](Self::claim), with a reference.
    pub(crate) fn claim_folio(&mut self, pfn: u64, max_order: u8) -> Option<u8> {
        let order = self.claim(pfn, max_order)?;
        self.folios.insert(pfn, FolioRefs { order, refs: 1 });
        Some(order)
    }

    fn folio(&mut self, pfn: u64) -> &mut FolioRefs {
        let folio = self.folios.get_mut(&pfn);
        folio.unwrap_or_else(|| panic!("no folio at page {pfn:#x}"))
    }

    /// The order of a folio.
    pub(crate) fn folio_order(&mut self, pfn: u64) -> u8 {
        self.folio(pfn).order
    }

    /// Takes a reference to a folio.
    pub(crate) fn folio_get(&mut self, pfn: u64) {
        self.folio(pfn).refs += 1;
    }

    /// Gives a reference to a folio back; with the last one it is freed.
    pub(crate) fn folio_put(&mut self, pfn: u64) {
        let folio = self.folio(pfn);
        folio.refs -= 1;
        let (order, refs) = (folio.order, folio.refs);
        if refs == 0 {
            self.folios.remove(&pfn);
            let first = pfn * PAGE_SIZE as u64;
            assert_eq!(
                self.frames[&first].state,
                State::Owned,
                "page {pfn:#x} is freed"
            );
            self.free(pfn, order);
        }
    }

    /// What the next kernel finds: the preserved pages.
    pub(crate) fn into_inherited(mut self) -> Self {
        self.frames.retain(|_, it| it.state == State::Preserved);
        for frame in self.frames.values_mut() {
            frame.state = State::Inherited;
        }
        Self {
            frames: self.frames,
            used: self.used,
            inherited: self.preserved,
            ..Self::default()
        }
    }

    pub(crate) fn pages_in_use(&self) -> usize {
        self.frames.len()
    }

    /// Lets `with` see the bytes of a page.
    pub(crate) fn bytes<R>(&self, pa: u64, with: impl FnOnce(*mut u8) -> R) -> Option<R> {
        Some(with(self.frames.get(&pa)?.page.as_ptr().cast()))
    }
}

/// A page that somebody in this kernel owns. Dropping it frees it.
pub(crate) struct OwnedPage {
    pa: u64,
    page: NonNull<Page>,
}

// SAFETY: The page is owned like the contents of a `Box`, and is plain bytes.
unsafe impl Send for OwnedPage {}
// SAFETY: A shared reference gives out shared references only.
unsafe impl Sync for OwnedPage {}

impl OwnedPage {
    /// A page of zeroes.
    pub(crate) fn alloc() -> Result<Self> {
        try_alloc(GFP_KERNEL)?;
        let machine = machine::current();
        let mut arena = machine.arena.lock();
        let pa = arena.alloc(0) * PAGE_SIZE as u64;
        let page = arena.frames[&pa].page;
        Ok(Self { pa, page })
    }

    /// Takes a page over from the previous kernel, if it is one and nobody has it.
    pub(crate) fn claim(pa: u64) -> Option<Self> {
        if !pa.is_multiple_of(PAGE_SIZE as u64) {
            return None;
        }
        let machine = machine::current();
        let mut arena = machine.arena.lock();
        arena.claim(pa / PAGE_SIZE as u64, 0)?;
        let page = arena.frames[&pa].page;
        Some(Self { pa, page })
    }

    pub(crate) fn pa(&self) -> u64 {
        self.pa
    }

    /// Preserves the page for the next kernel.
    pub(crate) fn preserve(&self) -> Result {
        try_alloc(GFP_KERNEL)?;
        let pfn = self.pa / PAGE_SIZE as u64;
        machine::current().arena.lock().preserve(pfn, 0);
        Ok(())
    }

    /// Undoes [`preserve`](Self::preserve).
    pub(crate) fn unpreserve(&self) {
        let pfn = self.pa / PAGE_SIZE as u64;
        machine::current().arena.lock().unpreserve(pfn, 0);
    }

    /// The page as a `T`.
    pub(crate) fn view<T: FromBytes>(&self) -> &T {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        // SAFETY: The page is owned, large enough and aligned, and any bytes are a valid `T`.
        unsafe { self.page.cast().as_ref() }
    }

    /// The page as a `T`, to be written.
    pub(crate) fn view_mut<T: FromBytes>(&mut self) -> &mut T {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        // SAFETY: As for `view`, and `&mut self` makes the access exclusive.
        unsafe { self.page.cast().as_mut() }
    }
}

impl Drop for OwnedPage {
    fn drop(&mut self) {
        let pfn = self.pa / PAGE_SIZE as u64;
        machine::current().arena.lock().free(pfn, 0);
    }
}
