// SPDX-License-Identifier: GPL-2.0-only

//! Physical pages.

use super::machine;
use crate::{
    alloc::{GFP_KERNEL, try_alloc},
    error::Result,
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

/// All pages that are in use. No address is used twice, so that a stale one is never valid.
#[derive(Default)]
pub(crate) struct Arena {
    frames: BTreeMap<u64, Frame>,
    used: u64,
}

impl Arena {
    fn alloc(&mut self) -> (u64, NonNull<Page>) {
        let pa = BASE + self.used * PAGE_SIZE as u64;
        self.used += 1;
        let page = NonNull::from(Box::leak(Box::new(Page([0; PAGE_SIZE]))));
        let state = State::Owned;
        self.frames.insert(pa, Frame { page, state });
        (pa, page)
    }

    /// Moves a page from one state to another; `None` if it is in neither.
    fn step(&mut self, pa: u64, from: State, to: State) -> Option<NonNull<Page>> {
        let frame = self.frames.get_mut(&pa).filter(|it| it.state == from)?;
        frame.state = to;
        Some(frame.page)
    }

    /// What the next kernel finds: the preserved pages.
    pub(crate) fn into_inherited(mut self) -> Self {
        self.frames.retain(|_, it| it.state == State::Preserved);
        for frame in self.frames.values_mut() {
            frame.state = State::Inherited;
        }
        self
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
        let (pa, page) = machine::current().arena.lock().alloc();
        Ok(Self { pa, page })
    }

    /// Takes a page over from the previous kernel, if it is one and nobody has it.
    pub(crate) fn claim(pa: u64) -> Option<Self> {
        let machine = machine::current();
        let page = machine
            .arena
            .lock()
            .step(pa, State::Inherited, State::Owned)?;
        Some(Self { pa, page })
    }

    pub(crate) fn pa(&self) -> u64 {
        self.pa
    }

    /// Preserves the page for the next kernel.
    pub(crate) fn preserve(&self) -> Result {
        try_alloc(GFP_KERNEL)?;
        self.step(State::Owned, State::Preserved);
        Ok(())
    }

    /// Undoes [`preserve`](Self::preserve).
    pub(crate) fn unpreserve(&self) {
        self.step(State::Preserved, State::Owned);
    }

    fn step(&self, from: State, to: State) {
        let stepped = machine::current().arena.lock().step(self.pa, from, to);
        assert!(stepped.is_some(), "page {:#x} is not {from:?}", self.pa);
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
        let freed = machine::current().arena.lock().frames.remove(&self.pa);
        assert!(freed.is_some(), "page {:#x} is freed twice", self.pa);
    }
}
