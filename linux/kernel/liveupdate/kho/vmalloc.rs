// SPDX-License-Identifier: GPL-2.0-only

//! Areas of vmalloc.

use crate::{
    chain::{Chain, Chunk, PAGE, PER_CHUNK},
    extents::split,
    outgoing,
};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{
    bindings,
    kho::{
        extent::Extent,
        mark::{self, Account},
        vm::{self, Area},
        PhysAddr, Preserved,
    },
    prelude::*,
};

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
    let extents = area.extents().map(|it| it.0.pages());
    outgoing::preserve(extents.flat_map(|it| split(it, mark::node)))?;
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
    let order = preservation.order as u8;
    // SAFETY: All that is written there is the address.
    let mut next = unsafe { preservation.first.phys };
    while next != 0 {
        // SAFETY: By the caller's promise it is a page that `preserve` let go.
        let chunk = unsafe { Preserved::<Chunk>::from_phys(PhysAddr(next)) };
        next = chunk.next;
        let firsts = chunk.extents.iter().take_while(|it| **it != 0);
        let extents = firsts.map(|it| Extent::new(it / PAGE, order).pages());
        outgoing::unpreserve(extents.flat_map(|it| split(it, mark::node)));
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
    // SAFETY: Any number may be there.
    let first = PhysAddr(unsafe { preservation.first.phys });
    let mut chain = Chain::claim(first, preservation.order, preservation.total_pages)?;
    let order = preservation.order as u8;
    // SAFETY: The pages are claimed, and become single pages below.
    let address = unsafe { vm::map(&chain.pfns, order, preservation.flags) }?;
    let mut account = Account::default();
    for it in chain.extents.drain_all() {
        account.add(it.extent());
        it.into_pages();
    }
    for it in chain.chunks.drain_all() {
        account.add(it.extent());
        it.free();
    }
    Ok(address)
}
