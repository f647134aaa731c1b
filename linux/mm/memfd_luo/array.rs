// SPDX-License-Identifier: GPL-2.0-only

//! The array of folios, page by page: nothing is mapped, nothing is as large as the file.

use crate::abi::{
    ArraySer, Chunk, FolioPage, FolioSer, ARRAY_ALLOC, FOLIOS_PER_PAGE, PAGES_PER_CHUNK,
};
use kernel::{
    kho::{PhysAddr, Preserved, Restored},
    prelude::*,
};

/// An array that grows, for the next kernel.
pub(crate) struct OutgoingArray {
    pages: KVVec<Preserved<FolioPage>>,
    chunks: KVVec<Preserved<Chunk>>,
    len: usize,
}

impl OutgoingArray {
    /// Without entries.
    pub(crate) const fn new() -> Self {
        Self {
            pages: KVVec::new(),
            chunks: KVVec::new(),
            len: 0,
        }
    }

    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Makes room for so many entries more, so that [`push`](Self::push) cannot fail.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENOSPC` beyond what the format can describe.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize) -> Result {
        while self.pages.len() * FOLIOS_PER_PAGE < self.len + more {
            self.grow()?;
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self) -> Result {
        if self.pages.len() == u32::MAX as usize {
            return Err(ENOSPC);
        }
        let page: Preserved<FolioPage> = Preserved::new()?;
        let slot = self.pages.len() % PAGES_PER_CHUNK;
        if slot == 0 {
            let chunk: Preserved<Chunk> = Preserved::new()?;
            let pa = chunk.phys().0;
            self.chunks.push(chunk, GFP_KERNEL)?;
            if let [.., last, _] = &mut self.chunks[..] {
                last.next_pa = pa;
            }
        }
        let pa = page.phys().0;
        if let Err(err) = self.pages.push(page, GFP_KERNEL) {
            self.drop_unused_chunks();
            return Err(err.into());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.pages[slot] = pa;
        }
        Ok(())
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if [`reserve`](Self::reserve) has not made room for it.
    #[inline]
    pub(crate) fn push(&mut self, entry: FolioSer) -> Result {
        let (page, slot) = (self.len / FOLIOS_PER_PAGE, self.len % FOLIOS_PER_PAGE);
        self.pages.get_mut(page).ok_or(ENOSPC)?.0[slot] = entry;
        self.len += 1;
        Ok(())
    }

    /// The entry `index`.
    pub(crate) fn get(&self, index: usize) -> Option<FolioSer> {
        if index >= self.len {
            return None;
        }
        let page = self.pages.get(index / FOLIOS_PER_PAGE)?;
        Some(page.0[index % FOLIOS_PER_PAGE])
    }

    /// Takes the last entry off.
    pub(crate) fn pop(&mut self) -> Option<FolioSer> {
        let last = self.get(self.len.checked_sub(1)?)?;
        self.len -= 1;
        let page = self.pages.get_mut(self.len / FOLIOS_PER_PAGE)?;
        page.0[self.len % FOLIOS_PER_PAGE] = FolioSer::NOTHING;
        let pages = self.len.div_ceil(FOLIOS_PER_PAGE);
        // One page more than needed may stay: the next entry needs it.
        if pages + 1 < self.pages.len() {
            self.pages.truncate(pages + 1);
            if let Some(chunk) = self.chunks.get_mut((pages + 1) / PAGES_PER_CHUNK) {
                chunk.pages[(pages + 1) % PAGES_PER_CHUNK] = 0;
            }
            self.drop_unused_chunks();
        }
        Some(last)
    }

    fn drop_unused_chunks(&mut self) {
        let chunks = self.pages.len().div_ceil(PAGES_PER_CHUNK);
        if chunks < self.chunks.len() {
            self.chunks.truncate(chunks);
            if let Some(last) = self.chunks.last_mut() {
                last.next_pa = 0;
            }
        }
    }

    /// How the next kernel finds it.
    pub(crate) fn describe(&self) -> ArraySer {
        ArraySer {
            first_pa: self.chunks.first().map_or(0, |chunk| chunk.phys().0),
            total_pages: self.pages.len() as u32,
            flags: ARRAY_ALLOC,
            order: 0,
        }
    }
}

/// An array that the previous kernel made, claimed page by page.
///
/// A failure for lack of memory loses nothing: a later [`load`](Self::load) goes on from there.
pub(crate) struct IncomingArray {
    ser: ArraySer,
    next_pa: u64,
    chunks: KVVec<Restored<Chunk>>,
    pages: KVVec<Restored<FolioPage>>,
}

impl IncomingArray {
    /// The array that is described by `ser`, not looked at yet.
    pub(crate) const fn new(ser: ArraySer) -> Self {
        Self {
            next_pa: ser.first_pa,
            ser,
            chunks: KVVec::new(),
            pages: KVVec::new(),
        }
    }

    /// Claims all pages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: may be repeated. `EINVAL`: the array is broken, or of a kind that is not known.
    pub(crate) fn load(&mut self) -> Result {
        self.check()?;
        let total = self.ser.total_pages as usize;
        loop {
            let claimed = self.chunks.len() * PAGES_PER_CHUNK;
            while self.pages.len() < claimed.min(total) {
                let slot = self.pages.len() % PAGES_PER_CHUNK;
                let pa = self.chunks.last().map_or(0, |chunk| chunk.pages[slot]);
                self.pages.reserve(1, GFP_KERNEL)?;
                self.pages
                    .push(Restored::claim(PhysAddr(pa))?, GFP_KERNEL)?;
            }
            if self.next_pa == 0 {
                break;
            }
            self.chunks.reserve(1, GFP_KERNEL)?;
            let chunk = Self::claim_chunk(&mut self.next_pa, self.chunks.len(), total)?;
            self.chunks.push(chunk, GFP_KERNEL)?;
        }
        if self.pages.len() == total {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Whether it ends after so many entries: both flavors leave zeros behind the last one.
    pub(crate) fn ends_after(&self, count: u64) -> bool {
        let capacity = self.pages.len() * FOLIOS_PER_PAGE;
        if count > capacity as u64 {
            return false;
        }
        let first = count as usize;
        let rest = self.pages.iter().skip(first / FOLIOS_PER_PAGE);
        let mut rest = rest.flat_map(|page| &page.0).skip(first % FOLIOS_PER_PAGE);
        rest.all(FolioSer::is_nothing)
    }

    /// How many pages it takes, as far as it was read.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len() + self.chunks.len()
    }

    /// The entries from `first` on: up to `count`, and not beyond a page of the array.
    pub(crate) fn entries(&self, first: usize, count: usize) -> &[FolioSer] {
        let Some(page) = self.pages.get(first / FOLIOS_PER_PAGE) else {
            return &[];
        };
        let entries = &page.0[first % FOLIOS_PER_PAGE..];
        &entries[..count.min(entries.len())]
    }

    /// Visits all pages, also those that are not loaded, and frees them. It takes no memory.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); that of `visit`. What comes behind is leaked.
    pub(crate) fn drain(mut self, mut visit: impl FnMut(&FolioPage) -> Result) -> Result {
        self.check()?;
        let (total, mut nr) = (self.ser.total_pages as usize, self.pages.len());
        let mut nr_chunks = self.chunks.len();
        self.pages.into_iter().try_for_each(|page| visit(&page))?;
        // The others were claimed with all their pages.
        let mut last = self.chunks.pop();
        loop {
            if let Some(chunk) = last {
                while nr < total.min(nr_chunks * PAGES_PER_CHUNK) {
                    let pa = PhysAddr(chunk.pages[nr % PAGES_PER_CHUNK]);
                    visit(&*Restored::claim(pa)?)?;
                    nr += 1;
                }
            }
            if self.next_pa == 0 {
                break;
            }
            last = Some(Self::claim_chunk(&mut self.next_pa, nr_chunks, total)?);
            nr_chunks += 1;
        }
        if nr == total {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Checks what can be checked without looking at the pages.
    fn check(&self) -> Result {
        if self.ser.flags != ARRAY_ALLOC || self.ser.order != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Claims the chunk at `next_pa`, which becomes the address of the one behind it.
    fn claim_chunk(next_pa: &mut u64, nr_chunks: usize, total: usize) -> Result<Restored<Chunk>> {
        // Behind a full chunk there is an empty one; anything more does not belong here.
        if nr_chunks * PAGES_PER_CHUNK > total {
            return Err(EINVAL);
        }
        let chunk: Restored<Chunk> = Restored::claim(PhysAddr(*next_pa))?;
        *next_pa = chunk.next_pa;
        Ok(chunk)
    }
}
