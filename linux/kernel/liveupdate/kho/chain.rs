// SPDX-License-Identifier: GPL-2.0-only

//! The chain of pages in which a kernel writes down the extents of an area of vmalloc.

use crate::claim;
use kernel::{
    kho::{mark::Claimed, PhysAddr},
    prelude::*,
};

/// The size of a page, and so of a chunk.
pub const PAGE: u64 = size_of::<Chunk>() as u64;

/// Extents that a page of the chain has room for.
pub const PER_CHUNK: usize = 511;

/// The highest order of an area's extents: that of the largest page that can be mapped.
const MAX_ORDER: u16 = 18;

/// A page of the chain. Behind the last extent there is a 0.
#[repr(C)]
#[derive(FromBytes)]
pub struct Chunk {
    /// The address of the next page.
    pub next: u64,
    /// The addresses of extents.
    pub extents: [u64; PER_CHUNK],
}

/// What makes up an area, claimed. If it is dropped, all can be claimed again.
#[derive(Default)]
pub struct Chain {
    /// The pages of the chain.
    pub chunks: KVVec<Claimed>,
    /// The extents, as they were preserved: those of the area, or pieces of them.
    pub extents: KVVec<Claimed>,
    /// The first page of each extent of the area.
    pub pfns: KVVec<u64>,
}

impl Chain {
    /// Claims a chain, and an area of `nr_pages` in extents of an order.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not that. `ENOMEM`. All can be claimed again.
    pub fn claim(first: PhysAddr, order: u16, nr_pages: u32) -> Result<Self> {
        let is_whole = nr_pages.trailing_zeros() >= order.into();
        if order > MAX_ORDER || nr_pages == 0 || !is_whole {
            return Err(EINVAL);
        }
        let nr = nr_pages as usize >> order;
        let mut chain = Self::default();
        let mut next = first.0;
        while next != 0 {
            let claimed = Claimed::at(next / PAGE).filter(|_| next & (PAGE - 1) == 0);
            let claimed = claimed.ok_or(EINVAL)?;
            let chunk = claimed.view::<Chunk>().ok_or(EINVAL)?;
            next = chunk.next;
            for address in chunk.extents.iter().take_while(|it| **it != 0) {
                if chain.pfns.len() == nr {
                    return Err(EINVAL);
                }
                chain.add(*address, order)?;
            }
            chain.chunks.push(claimed, GFP_KERNEL)?;
        }
        match chain.pfns.len() == nr {
            true => Ok(chain),
            false => Err(EINVAL),
        }
    }

    fn add(&mut self, address: u64, order: u16) -> Result {
        let (pfn, nr_pages) = (address / PAGE, 1 << order);
        if address & (nr_pages * PAGE - 1) != 0 {
            return Err(EINVAL);
        }
        for it in claim::extents(pfn..pfn + nr_pages) {
            let claimed = Claimed::at(it?.pfn()).ok_or(EINVAL)?;
            self.extents.push(claimed, GFP_KERNEL)?;
        }
        Ok(self.pfns.push(pfn, GFP_KERNEL)?)
    }
}
