// SPDX-License-Identifier: GPL-2.0-only

//! Areas of vmalloc, as the pages that they consist of.

use crate::{bindings, kho::extent::Extent, prelude::*};
use core::{ffi::c_void, ptr::NonNull};

/// An area of this kernel.
///
/// # Invariants
///
/// What `kho_vm_find()` said of it is still true.
pub struct Area {
    address: NonNull<c_void>,
    found: bindings::kho_vm_area,
}

impl Area {
    /// The area that begins at an address.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none. `EOPNOTSUPP`: it has flags that cannot be preserved.
    ///
    /// # Safety
    ///
    /// Nobody frees it before the value is gone.
    pub unsafe fn at(address: *mut c_void) -> Result<Self> {
        let mut found = bindings::kho_vm_area::default();
        // SAFETY: It looks for the area, and writes what it finds.
        crate::error::to_result(unsafe { bindings::kho_vm_find(address, &mut found) })?;
        let address = NonNull::new(address).ok_or(EINVAL)?;
        // INVARIANT: The caller's promise.
        Ok(Self { address, found })
    }

    /// Its number of pages.
    pub fn nr_pages(&self) -> u32 {
        self.found.nr_pages
    }

    /// The order of its extents.
    pub fn order(&self) -> u8 {
        self.found.order as u8
    }

    /// How it was allocated: `KHO_VM_ALLOC`, `KHO_VM_HUGE`.
    pub fn flags(&self) -> u16 {
        self.found.flags as u16
    }

    /// Its extents, in the order of its addresses, with their numbers.
    pub fn extents(&self) -> impl Iterator<Item = (Extent, usize)> + Clone + '_ {
        let firsts = (0..self.nr_pages()).step_by(1 << self.order());
        firsts.zip(0..).map(|(page, number)| {
            // SAFETY: By the type invariant; the page is one of it.
            let pfn = unsafe { bindings::kho_vm_pfn(self.address.as_ptr(), page) };
            (Extent::new(pfn, self.order()), number)
        })
    }
}

/// All flags that can be preserved.
pub const FLAGS: u16 =
    (bindings::kho_vm_flags_KHO_VM_ALLOC | bindings::kho_vm_flags_KHO_VM_HUGE) as u16;

/// Maps single pages, in extents of an order, as an area that [`vfree()`](srctree/include/linux/vmalloc.h) frees.
///
/// # Errors
///
/// `ENOMEM`: nothing is mapped.
///
/// # Safety
///
/// They are memory that the caller owns, and become single pages with one reference of each.
pub unsafe fn map(pfns: &[u64], order: u8, flags: u16) -> Result<NonNull<c_void>> {
    // SAFETY: The caller's promise.
    let address =
        unsafe { bindings::kho_vm_map(pfns.as_ptr(), pfns.len(), order.into(), flags.into()) };
    NonNull::new(address).ok_or(ENOMEM)
}
