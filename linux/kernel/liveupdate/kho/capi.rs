// SPDX-License-Identifier: GPL-2.0-only

//! The functions of `include/linux/kexec_handover.h` whose arguments are numbers, and what those of C call.

use crate::{areas::meet, claim, extents::split, incoming, init, outgoing, vmalloc};
use core::ptr::null_mut;
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_uint, c_void, CStr},
    kho::{extent::Extent, mark, scratch, vm::Area},
    prelude::*,
};

fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// Returns whether something can be handed over.
#[export]
pub(crate) extern "C" fn kho_is_enabled() -> bool {
    init::is_enabled()
}

/// Returns whether the previous kernel handed something over.
#[export]
pub(crate) extern "C" fn is_kho_boot() -> bool {
    incoming::tree_phys().is_some()
}

/// Returns where the next kernel finds the device tree; 0 if there is none.
#[export]
pub(crate) extern "C" fn kho_rust_root() -> u64 {
    outgoing::root_phys().unwrap_or(0)
}

/// Returns whether the next kernel boots with some pages, and leaves them alone.
#[export]
pub(crate) extern "C" fn kho_rust_is_free(pfn: u64, order: c_uint) -> bool {
    outgoing::free()
        .check(&Extent::new(pfn, order as u8).pages())
        .is_ok()
}

/// Returns whether some of a range is scratch memory.
#[export]
pub(crate) extern "C" fn kho_scratch_overlap(phys: bindings::phys_addr_t, size: usize) -> bool {
    meet(scratch::areas(), &(phys..phys.saturating_add(size as u64)))
}

/// Preserves extents: `EINVAL`, `ENXIO`, `EEXIST`, `ENOMEM`. May sleep.
///
/// # Safety
///
/// `extents` has to point to `nr` of them.
#[export]
pub(crate) unsafe extern "C" fn kho_preserve_extents(extents: *const u64, nr: c_uint) -> c_int {
    // SAFETY: The caller's promise; an extent is a number.
    let extents = unsafe { core::slice::from_raw_parts(extents.cast::<Extent>(), nr as usize) };
    errno(outgoing::preserve(extents.iter().copied()))
}

/// Undoes `kho_preserve_extents()`. May sleep.
///
/// # Safety
///
/// As for that.
#[export]
pub(crate) unsafe extern "C" fn kho_unpreserve_extents(extents: *const u64, nr: c_uint) {
    // SAFETY: The caller's promise; an extent is a number.
    let extents = unsafe { core::slice::from_raw_parts(extents.cast::<Extent>(), nr as usize) };
    outgoing::unpreserve(extents.iter().copied());
}

/// Preserves a range of pages, in as few extents as can be: `EINVAL`, `ENXIO`, `EEXIST`, `ENOMEM`. May sleep.
#[export]
pub(crate) extern "C" fn kho_rust_preserve(pfn: u64, nr: u64) -> c_int {
    errno(outgoing::preserve(split(pfn..pfn + nr, mark::node)))
}

/// Undoes `kho_rust_preserve()`. May sleep.
#[export]
pub(crate) extern "C" fn kho_rust_unpreserve(pfn: u64, nr: u64) {
    outgoing::unpreserve(split(pfn..pfn + nr, mark::node));
}

/// Claims a range of pages, as single ones. Returns whether they were preserved.
#[export]
pub(crate) extern "C" fn kho_rust_claim(pfn: u64, nr: u64) -> bool {
    let claimed = match pfn.checked_add(nr) {
        Some(end) if nr > 0 => claim::claim_pages(pfn..end),
        _ => Err(EINVAL),
    };
    if let Err(err) = claimed {
        pr_err!("{} pages at {:#x} were not preserved: {:?}\n", nr, pfn, err);
    }
    claimed.is_ok()
}

/// Claims folios of an order up to `max_order` at `pfns`, and writes them to `folios`. Returns how many there were.
///
/// # Safety
///
/// `pfns` has to point to `nr` numbers, `folios` to room for `nr` pointers.
#[export]
pub(crate) unsafe extern "C" fn kho_claim_folios(
    pfns: *const u64,
    nr: c_uint,
    max_order: c_uint,
    folios: *mut *mut bindings::folio,
) -> c_uint {
    // SAFETY: The caller's promise.
    let pfns = unsafe { core::slice::from_raw_parts(pfns, nr as usize) };
    let mut next = folios;
    claim::claim_folios(pfns.iter(), max_order, |it| {
        // SAFETY: The caller's promise; there are no more than `nr`.
        unsafe {
            next.write(it.into_folio());
            next = next.add(1);
        }
    }) as c_uint
}

/// Preserves an area of vmalloc: `EINVAL`, `EOPNOTSUPP`, `ENXIO`, `EEXIST`, `ENOMEM`. May sleep.
///
/// # Safety
///
/// Nobody frees the area, and there is room for a preservation.
#[export]
pub(crate) unsafe extern "C" fn kho_preserve_vmalloc(
    ptr: *mut c_void,
    preservation: *mut bindings::kho_vmalloc,
) -> c_int {
    // SAFETY: The caller's promise.
    let preserved = unsafe { Area::at(ptr) }.and_then(|it| vmalloc::preserve(&it));
    errno(preserved.map(|it| {
        // SAFETY: The caller's promise.
        unsafe { preservation.write(it) };
    }))
}

/// Undoes `kho_preserve_vmalloc()`. May sleep.
///
/// # Safety
///
/// That has made it, and nobody has undone it.
#[export]
pub(crate) unsafe extern "C" fn kho_unpreserve_vmalloc(preservation: *mut bindings::kho_vmalloc) {
    // SAFETY: The caller's promise.
    unsafe { vmalloc::unpreserve(&*preservation) };
}

/// Restores an area of vmalloc that the previous kernel preserved; null if there is none, or no memory. May sleep.
///
/// # Safety
///
/// There is a preservation, whatever is in it.
#[export]
pub(crate) unsafe extern "C" fn kho_restore_vmalloc(
    preservation: *const bindings::kho_vmalloc,
) -> *mut c_void {
    // SAFETY: The caller's promise.
    match vmalloc::restore(unsafe { &*preservation }) {
        Ok(area) => area.as_ptr(),
        Err(err) => {
            pr_err!("an area of vmalloc cannot be restored: {:?}\n", err);
            null_mut()
        }
    }
}

/// Publishes a blob of preserved memory under a name: `EEXIST`, `ENOMEM`. May sleep.
///
/// # Safety
///
/// The name ends in NUL. The memory is there until `kho_remove_subtree()`.
#[export]
pub(crate) unsafe extern "C" fn kho_add_subtree(
    name: *const c_char,
    blob: *mut c_void,
    size: usize,
) -> c_int {
    // SAFETY: The caller's promise.
    let name = unsafe { CStr::from_ptr(name.cast()) };
    // SAFETY: It is memory of the linear mapping.
    let phys = unsafe { bindings::kho_virt_to_phys(blob) };
    // SAFETY: The caller's promise.
    errno(unsafe { outgoing::add(name, blob.cast(), phys, size) })
}

/// Withdraws a blob. May sleep.
///
/// # Safety
///
/// It is memory.
#[export]
pub(crate) unsafe extern "C" fn kho_remove_subtree(blob: *mut c_void) {
    // SAFETY: The caller's promise.
    let phys = unsafe { bindings::kho_virt_to_phys(blob) };
    outgoing::remove(blob.cast(), phys);
}

/// Finds a blob of the previous kernel: `ENOENT`, `EINVAL`.
///
/// # Safety
///
/// The name ends in NUL, there is room for an address, and for a size unless that is null.
#[export]
pub(crate) unsafe extern "C" fn kho_retrieve_subtree(
    name: *const c_char,
    phys: *mut bindings::phys_addr_t,
    size: *mut usize,
) -> c_int {
    if phys.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: The caller's promise.
    let found = incoming::retrieve(unsafe { CStr::from_ptr(name.cast()) });
    errno(found.map(|(address, found_size)| {
        // SAFETY: The caller's promise.
        unsafe { phys.write(address.0) };
        if !size.is_null() {
            // SAFETY: The caller's promise.
            unsafe { size.write(found_size as usize) };
        }
    }))
}
