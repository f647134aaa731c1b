// SPDX-License-Identifier: GPL-2.0-only

//! Scratch memory: what the next kernel loads and boots in.

use crate::{bindings, error::to_result, page::PAGE_SIZE, prelude::*};
use core::{mem::ManuallyDrop, ops::Deref, ptr::NonNull, slice};

/// A range of scratch memory: address and size.
pub use bindings::kho_scratch as Area;

/// The areas of this kernel.
pub fn areas() -> &'static [Area] {
    // SAFETY: They are set while the kernel boots, on one processor, and are there from then on.
    unsafe {
        match NonNull::new(bindings::kho_areas) {
            Some(areas) => slice::from_raw_parts(areas.as_ptr(), bindings::kho_nr_areas as usize),
            None => &[],
        }
    }
}

/// The memory that this kernel booted with: not what came later, which the next kernel will not boot with either.
pub fn memory() -> &'static [Area] {
    // SAFETY: As for the areas.
    unsafe {
        match NonNull::new(bindings::kho_memory) {
            Some(areas) => slice::from_raw_parts(areas.as_ptr(), bindings::kho_nr_memory as usize),
            None => &[],
        }
    }
}

/// Has the kernel remember its [`memory`].
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Safety
///
/// The kernel boots on one processor, memblock has the memory, and it is called once.
pub unsafe fn remember_memory() -> Result {
    // SAFETY: The caller's promise.
    to_result(unsafe { bindings::kho_boot_remember_memory() })
}

/// Where scratch memory is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where any device gets at.
    Low,
    /// Anywhere.
    Any,
    /// On a node.
    Node(i32),
}

impl Place {
    fn raw(self) -> i32 {
        match self {
            Self::Low => bindings::kho_boot_place_KHO_BOOT_LOW,
            Self::Any => bindings::kho_boot_place_KHO_BOOT_ANY,
            Self::Node(node) => node,
        }
    }
}

/// The areas of this kernel, while they are chosen. If it is dropped, there are none.
///
/// # Invariants
///
/// The kernel boots on one processor, memblock has the memory, and there is one such value.
pub struct Plan(());

impl Plan {
    /// No areas yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The kernel boots on one processor, memblock has the memory, and no areas are chosen yet.
    pub unsafe fn at_boot() -> Result<Self> {
        // SAFETY: The caller's promise.
        to_result(unsafe { bindings::kho_boot_new_areas() })?;
        // INVARIANT: The caller's promise.
        Ok(Self(()))
    }

    /// How many bytes the kernel has allocated in a place.
    pub fn allocated(&self, place: Place) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_allocated(place.raw()) }
    }

    /// The nodes with memory.
    pub fn nodes(&self) -> impl Iterator<Item = i32> {
        let mut node = -1;
        core::iter::from_fn(move || {
            // SAFETY: It goes through a table that is there.
            node = unsafe { bindings::kho_boot_next_node(node) };
            (node >= 0).then_some(node)
        })
    }

    /// Reserves an area, unless it has no bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn reserve(&mut self, place: Place, size: u64, align: u64) -> Result {
        if size == 0 {
            return Ok(());
        }
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::kho_boot_new_area(place.raw(), size, align) })
    }

    /// Keeps the areas.
    pub fn keep(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_drop_areas() };
    }
}

/// Some memory, mapped while there is no other way to look at it.
///
/// # Invariants
///
/// The memory is mapped, and nobody writes to it.
pub struct EarlyMap(NonNull<u8>, usize);

impl EarlyMap {
    /// The most bytes that are mapped.
    const MAX: u64 = 16 * PAGE_SIZE as u64;

    /// Maps some memory, unless that is too much.
    ///
    /// # Safety
    ///
    /// The kernel begins to boot, on one processor, and nobody writes to the memory.
    pub unsafe fn new(address: u64, len: u64) -> Option<Self> {
        if len == 0 || len > Self::MAX || address.checked_add(len).is_none() {
            return None;
        }
        // SAFETY: The caller's promise.
        let mapped = unsafe { bindings::kho_boot_map(address, len as usize) };
        // INVARIANT: It is.
        Some(Self(NonNull::new(mapped.cast())?, len as usize))
    }

    /// The areas that are written there.
    pub fn areas(&self) -> Option<&[Area]> {
        let first = self.0.cast::<Area>();
        if !first.is_aligned() || self.1 % size_of::<Area>() != 0 {
            return None;
        }
        // SAFETY: By the type invariant, and any numbers are an area.
        Some(unsafe { slice::from_raw_parts(first.as_ptr(), self.1 / size_of::<Area>()) })
    }
}

impl Deref for EarlyMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariant.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), self.1) }
    }
}

impl Drop for EarlyMap {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kho_boot_unmap(self.0.as_ptr().cast(), self.1) };
    }
}

/// Has the kernel boot in areas of the previous one, whose array is at `array`.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Safety
///
/// The kernel begins to boot, on one processor. The array is that of `areas`, in which nothing is that anybody needs.
pub unsafe fn adopt(areas: &[Area], array: u64) -> Result {
    for it in areas.iter().filter(|it| it.size > 0) {
        // SAFETY: The caller's promise.
        to_result(unsafe { bindings::kho_boot_adopt_area(it.addr, it.size) })?;
    }
    // SAFETY: The caller's promise.
    to_result(unsafe { bindings::kho_boot_adopt(array, areas.len() as u32) })
}

/// Makes the areas that were [adopted](adopt) those of this kernel. Returns whether there are any.
///
/// # Safety
///
/// The kernel boots on one processor, and all memory is mapped.
pub unsafe fn use_adopted() -> bool {
    // SAFETY: The caller's promise.
    unsafe { bindings::kho_boot_use_adopted() }
}

/// Gives new areas to the allocator, for memory that can be moved.
///
/// # Safety
///
/// It is called once, for areas of a [`Plan`] that were kept.
pub unsafe fn lend() {
    // SAFETY: The caller's promise.
    unsafe { bindings::kho_lend_areas() };
}

/// Gives new areas to the allocator, for good.
///
/// # Safety
///
/// As for [`lend`], instead of that.
pub unsafe fn give_up() {
    // SAFETY: The caller's promise.
    unsafe { bindings::kho_give_up_areas() };
}
