// SPDX-License-Identifier: GPL-2.0-only

//! Kexec handover: pages that the next kernel finds as this one left them.
//!
//! A page is either [`Preserved`] by this kernel for the next one, or [`Restored`] from the
//! previous one. Both own their page. The only way from an address that the previous kernel wrote
//! down to a reference is [`Restored::claim`], which proves that the address is aligned, is memory,
//! and begins an extent of one page that the previous kernel preserved and nobody has claimed yet.
//!
//! C header: [`include/linux/kexec_handover.h`](srctree/include/linux/kexec_handover.h)

pub mod boot;
pub mod extent;
pub mod fdt;
pub mod mark;
pub mod node;
pub mod scratch;
pub mod show;
pub mod vm;

use crate::{
    bindings,
    error::{from_err_ptr, to_result},
    page::PAGE_SIZE,
    prelude::*,
    str::CStr,
};
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhysAddr(pub u64);

/// Returns whether handover is compiled in and was not switched off by `kho=off`.
pub fn is_enabled() -> bool {
    // SAFETY: No requirements; it reads a flag that is set at boot.
    unsafe { bindings::kho_is_enabled() }
}

/// Returns whether the image that `reboot(LINUX_REBOOT_CMD_KEXEC)` would jump to has handover data.
///
/// An image loaded by `kexec_load(2)` has none: whatever is preserved is lost to it.
///
/// Context: inside `kernel_kexec()`, which holds the kexec lock; elsewhere the answer may be stale.
pub fn image_carries_kho() -> bool {
    // SAFETY: It reads one pointer and one field; the kexec lock keeps the image in place.
    unsafe { bindings::kexec_image_carries_kho() }
}

/// A zeroed page, owned by this kernel and preserved for the next, seen as a `T`.
///
/// Dropping it unpreserves and frees the page.
///
/// # Invariants
///
/// The pointer comes from `kho_alloc_preserve()` and is owned by this value alone.
pub struct Preserved<T: FromBytes>(NonNull<T>);

// SAFETY: The page is owned like the contents of a `Box`.
unsafe impl<T: FromBytes + Send> Send for Preserved<T> {}
// SAFETY: Shared access gives out `&T` only.
unsafe impl<T: FromBytes + Sync> Sync for Preserved<T> {}

impl<T: FromBytes> Preserved<T> {
    /// Allocates a zeroed page and preserves it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what KHO gives when the page cannot be preserved.
    pub fn new() -> Result<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        // SAFETY: No requirements.
        let page = from_err_ptr(unsafe { bindings::kho_alloc_preserve(PAGE_SIZE) })?;
        // INVARIANT: The page is new, nobody else has its address.
        NonNull::new(page.cast()).map(Self).ok_or(ENOMEM)
    }

    /// The address by which the next kernel finds the page.
    pub fn phys(&self) -> PhysAddr {
        // SAFETY: By the type invariant the pointer is to a page of the linear mapping.
        PhysAddr(unsafe { bindings::kho_virt_to_phys(self.0.as_ptr().cast()) })
    }
}

impl<T: FromBytes> Preserved<T> {
    /// Leaves the page preserved.
    pub fn into_phys(self) -> PhysAddr {
        core::mem::ManuallyDrop::new(self).phys()
    }

    /// The page at an address.
    ///
    /// # Safety
    ///
    /// The address has to come from [`into_phys`](Self::into_phys) of a page of a `T`, and nobody else has it.
    pub unsafe fn from_phys(address: PhysAddr) -> Self {
        // SAFETY: By the caller's promise it is a page of the linear mapping.
        let page = unsafe { bindings::kho_phys_to_virt(address.0) };
        // INVARIANT: The caller's promise.
        // SAFETY: Pages of the linear mapping are not at address 0.
        Self(unsafe { NonNull::new_unchecked(page.cast()) })
    }
}

impl<T: FromBytes> Deref for Preserved<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The page is owned, large enough and aligned (checked in `new`), and any bytes
        // are a valid `T`.
        unsafe { self.0.as_ref() }
    }
}

impl<T: FromBytes> DerefMut for Preserved<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As for `deref`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }
}

impl<T: FromBytes> Drop for Preserved<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the page came from `kho_alloc_preserve()` and is ours.
        unsafe { bindings::kho_unpreserve_free(self.0.as_ptr().cast()) };
    }
}

/// A page that the previous kernel preserved, claimed and owned, seen as a `T`.
///
/// Dropping it frees the page. Its contents come from another kernel: any bytes may be in it.
///
/// # Invariants
///
/// The pointer is to a page that `kho_restore_folio()` handed to this value alone.
pub struct Restored<T: FromBytes>(NonNull<T>);

// SAFETY: The page is owned like the contents of a `Box`.
unsafe impl<T: FromBytes + Send> Send for Restored<T> {}
// SAFETY: Shared access gives out `&T` only.
unsafe impl<T: FromBytes + Sync> Sync for Restored<T> {}

impl<T: FromBytes> Restored<T> {
    /// Claims the preserved page at `addr`. A page can be claimed once.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `addr` is not the address of exactly one preserved, unclaimed page.
    pub fn claim(addr: PhysAddr) -> Result<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        if addr.0 % PAGE_SIZE as u64 != 0 {
            return Err(EINVAL);
        }
        let (pfn, mut folio) = (addr.0 / PAGE_SIZE as u64, core::ptr::null_mut());
        // SAFETY: The call touches the page only once it has found that it is online memory and
        // carries KHO's mark, which it takes away, so that no later claim of the page succeeds.
        let claimed = unsafe { bindings::kho_claim_folios(&pfn, 1, 0, &mut folio) };
        if claimed == 0 {
            return Err(EINVAL);
        }
        // SAFETY: The folio was restored for us, and we have its only reference.
        let page = unsafe { bindings::folio_address(folio) };
        // INVARIANT: As above.
        NonNull::new(page.cast()).map(Self).ok_or(EINVAL)
    }
}

impl<T: FromBytes> Deref for Restored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The page is owned, large enough and aligned (checked in `claim`), and any bytes
        // are a valid `T`.
        unsafe { self.0.as_ref() }
    }
}

impl<T: FromBytes> Drop for Restored<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the page is ours, with one reference.
        unsafe { bindings::kho_folio_free(self.0.as_ptr().cast()) };
    }
}

/// Publishes a preserved page under `name`, as a blob of `size_of::<T>()` bytes.
///
/// # Errors
///
/// `EEXIST` if the name is taken, `ENOMEM` if the root tree is full.
pub fn add_subtree<T: FromBytes>(name: &CStr, page: &Preserved<T>) -> Result {
    // SAFETY: The name ends in NUL. KHO records the address of the page, and does not touch it.
    to_result(unsafe {
        bindings::kho_add_subtree(name.as_char_ptr(), page.0.as_ptr().cast(), size_of::<T>())
    })
}

/// Finds the blob that the previous kernel published under `name`: its address and size.
///
/// # Errors
///
/// `ENOENT` if this is not a kexec boot with handover, or there is no such blob; others if the
/// root tree is broken.
pub fn retrieve_subtree(name: &CStr) -> Result<(PhysAddr, usize)> {
    let mut addr = 0;
    let mut size = 0;
    // SAFETY: The name ends in NUL, and both out-pointers are valid for the call.
    to_result(unsafe { bindings::kho_retrieve_subtree(name.as_char_ptr(), &mut addr, &mut size) })?;
    Ok((PhysAddr(addr), size))
}

/// A page that stays as it is for as long as the kernel runs, seen as a `T`.
///
/// # Safety
///
/// There has to be such a page, as large as a `T` and aligned for it.
pub unsafe fn page_at<T: FromBytes>(address: PhysAddr) -> &'static T {
    const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
    // SAFETY: The caller's promise, and any bytes are a valid `T`.
    unsafe { &*bindings::kho_phys_to_virt(address.0).cast() }
}

/// Whether a range of addresses is memory, whosever it is.
pub fn is_memory(address: PhysAddr, size: u64) -> bool {
    // SAFETY: It looks it up.
    unsafe { bindings::kho_is_memory(address.0, size) }
}

/// A copy of what is in some memory now, whosever it is.
///
/// # Errors
///
/// `EINVAL`: that is no memory. `ENOMEM`.
pub fn copy_of(address: PhysAddr, size: usize) -> Result<KVVec<u8>> {
    if !is_memory(address, size as u64) {
        return Err(EINVAL);
    }
    let mut copy = KVVec::from_elem(0, size, GFP_KERNEL)?;
    // SAFETY: The copy has this size, and the rest is memory.
    unsafe { bindings::kho_copy_memory(copy.as_mut_ptr().cast(), address.0, size) };
    Ok(copy)
}
