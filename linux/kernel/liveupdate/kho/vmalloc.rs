// SPDX-License-Identifier: GPL-2.0-only

//! Areas of vmalloc: a chain of pages with the addresses of their extents.

use crate::{
    claim,
    extents::{pages, split},
    outgoing,
};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{
    bindings,
    kho::{
        mark::{self, Account, Claimed},
        vm::{self, Area},
        PhysAddr, Preserved,
    },
    page::PAGE_SIZE,
    prelude::*,
};

const PAGE: u64 = PAGE_SIZE as u64;

/// Extents that a page of the chain has room for.
const PER_CHUNK: usize = PAGE_SIZE / 8 - 1;

/// The highest order of an area's extents: that of the largest page that can be mapped.
const MAX_ORDER: u16 = 18;

/// A page of the chain. Behind the last extent there is a 0.
#[repr(C)]
#[derive(FromBytes)]
struct Chunk {
    next: u64,
    extents: [u64; PER_CHUNK],
}

/// Preserves an area, whose extents are single pages for the next kernel.
///
/// # Errors
///
/// `ENOMEM`, and those of [`outgoing::preserve`]: nothing is preserved.
pub(crate) fn preserve(area: &Area) -> Result<bindings::kho_vmalloc> {
    let mut chunks = KVec::new();
    for it in area.extents() {
        let index = it.1 % PER_CHUNK;
        if index == 0 {
            chunks.push(Preserved::<Chunk>::new()?, GFP_KERNEL)?;
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.extents[index] = it.0.pfn() * PAGE;
        }
    }
    for index in 1..chunks.len() {
        chunks[index - 1].next = chunks[index].phys().0;
    }
    let first = chunks.first().ok_or(EINVAL)?.phys();
    outgoing::preserve(area.extents().flat_map(|it| split(pages(it.0), mark::node)))?;
    chunks.drain_all().for_each(|it| _ = it.into_phys());
    let mut preservation = bindings::kho_vmalloc {
        total_pages: area.nr_pages(),
        flags: area.flags(),
        order: area.order().into(),
        ..Default::default()
    };
    preservation.first.phys = first.0;
    Ok(preservation)
}

/// Undoes [`preserve`].
///
/// # Safety
///
/// That has to have made it, in this kernel, and nobody has undone it.
pub(crate) unsafe fn unpreserve(preservation: &bindings::kho_vmalloc) {
    let order = u32::from(preservation.order);
    // SAFETY: All that is written there is the address.
    let mut next = unsafe { preservation.first.phys };
    while next != 0 {
        // SAFETY: By the caller's promise it is a page that `preserve` let go.
        let chunk = unsafe { Preserved::<Chunk>::from_phys(PhysAddr(next)) };
        next = chunk.next;
        let firsts = chunk.extents.iter().take_while(|it| **it != 0);
        let ranges = firsts.map(|it| it / PAGE..it / PAGE + (1 << order));
        outgoing::unpreserve(ranges.flat_map(|it| split(it, mark::node)));
    }
}

/// What makes up an area, claimed. If it is dropped, all can be claimed again.
#[derive(Default)]
struct Parts {
    chunks: KVVec<Claimed>,
    extents: KVVec<Claimed>,
    /// The first page of each extent of the area, which may have been preserved in pieces.
    pfns: KVVec<u64>,
}

impl Parts {
    fn add_chunk(&mut self, address: u64) -> Result<u64> {
        let pfn = address / PAGE;
        let chunk = Claimed::at(pfn).filter(|_| address % PAGE == 0);
        self.chunks.push(chunk.ok_or(EINVAL)?, GFP_KERNEL)?;
        Ok(pfn)
    }

    fn add_extent(&mut self, address: u64, nr_pages: u64) -> Result {
        let pfn = address / PAGE;
        if address % (nr_pages * PAGE) != 0 {
            return Err(EINVAL);
        }
        for it in claim::extents(pfn..pfn + nr_pages) {
            let claimed = Claimed::at(it?.pfn()).ok_or(EINVAL)?;
            self.extents.push(claimed, GFP_KERNEL)?;
        }
        Ok(self.pfns.push(pfn, GFP_KERNEL)?)
    }

    /// Claims all that a preserved area consists of.
    fn claim(preservation: &bindings::kho_vmalloc) -> Result<Self> {
        let nr_pages = 1_u64 << preservation.order.min(MAX_ORDER);
        let nr = u64::from(preservation.total_pages) / nr_pages;
        let mut parts = Self::default();
        // SAFETY: Any number may be there.
        let mut next = unsafe { preservation.first.phys };
        while next != 0 {
            parts.add_chunk(next)?;
            let Some(chunk) = parts.chunks.last().and_then(Claimed::view::<Chunk>) else {
                return Err(EINVAL);
            };
            next = chunk.next;
            for index in 0..PER_CHUNK {
                let address = match parts.chunks.last().and_then(Claimed::view::<Chunk>) {
                    Some(chunk) if chunk.extents[index] != 0 => chunk.extents[index],
                    _ => break,
                };
                if parts.pfns.len() as u64 == nr {
                    return Err(EINVAL);
                }
                parts.add_extent(address, nr_pages)?;
            }
        }
        let is_whole = parts.pfns.len() as u64 * nr_pages == preservation.total_pages.into();
        if nr == 0 || !is_whole || preservation.order > MAX_ORDER {
            return Err(EINVAL);
        }
        Ok(parts)
    }
}

/// Claims an area that the previous kernel preserved, and maps it.
///
/// # Errors
///
/// `EINVAL`: it is not what it is said to be. `ENOMEM`. All can be claimed again.
pub(crate) fn restore(preservation: &bindings::kho_vmalloc) -> Result<NonNull<c_void>> {
    if preservation.flags & !vm::FLAGS != 0 {
        return Err(EINVAL);
    }
    let mut parts = Parts::claim(preservation)?;
    let order = preservation.order as u8;
    // SAFETY: The pages are claimed, and become single pages below.
    let address = unsafe { vm::map(&parts.pfns, order, preservation.flags) }?;
    let mut account = Account::default();
    for it in parts.extents.drain_all() {
        account.add(it.extent());
        it.into_pages();
    }
    for it in parts.chunks.drain_all() {
        account.add(it.extent());
        it.free();
    }
    Ok(address)
}
