// SPDX-License-Identifier: GPL-2.0-only

//! What the previous kernel says: a device tree, and blobs that it names.

use crate::{
    areas,
    outgoing::{BLOB, BLOB_SIZE, COMPATIBLE, MEMORY_MAP},
};
use kernel::{
    ffi::CStr,
    kho::{
        self,
        fdt::{Fdt, Page},
        scratch::{self, EarlyMap},
        PhysAddr,
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{ordering::Relaxed, Atomic},
};

/// Where the device tree is; 0 if nothing was handed over.
static TREE: Atomic<u64> = Atomic::new(0);

/// Where the tree of extents is, as the device tree says.
static MAP: Atomic<u64> = Atomic::new(0);

/// The device tree, if something was handed over. It is there for as long as the kernel runs.
///
/// Until what was preserved is restored, it must not be looked at: it may be no memory.
pub(crate) fn tree() -> Option<Fdt<'static>> {
    let address = TREE.load(Relaxed);
    if address == 0 {
        return None;
    }
    // SAFETY: It is preserved memory, which is kept for ever, or else forgotten.
    let page: &Page = unsafe { kho::page_at(PhysAddr(address)) };
    Fdt::new(&page.0).ok()
}

/// Where the device tree is.
pub(crate) fn tree_phys() -> Option<PhysAddr> {
    let address = TREE.load(Relaxed);
    (address != 0).then_some(PhysAddr(address))
}

/// Does as if nothing was handed over.
pub(crate) fn forget() {
    TREE.store(0, Relaxed);
}

/// Where the tree of extents is.
pub(crate) fn memory_map() -> PhysAddr {
    PhysAddr(MAP.load(Relaxed))
}

/// Finds a blob: its address and size.
///
/// # Errors
///
/// `ENOENT`: there is none. `EINVAL`: it has no address or no size, or is no memory.
pub(crate) fn retrieve(name: &CStr) -> Result<(PhysAddr, u64)> {
    let blob = tree().and_then(|it| it.root().child(name)).ok_or(ENOENT)?;
    let address = blob.number(BLOB).ok_or(EINVAL)?;
    let size = blob.number(BLOB_SIZE).ok_or(EINVAL)?;
    if !kho::is_memory(PhysAddr(address), size) {
        pr_err!("{:?} of the previous kernel is not in memory\n", name);
        return Err(EINVAL);
    }
    Ok((PhysAddr(address), size))
}

/// Takes what the boot loader says the previous kernel hands over: the addresses and sizes of a device tree and of an
/// array of scratch areas.
///
/// # Safety
///
/// The kernel begins to boot, on one processor.
pub(crate) unsafe fn populate(tree: (u64, u64), array: (u64, u64)) {
    // SAFETY: The caller's promise.
    match unsafe { try_populate(tree, array) } {
        Ok(()) => {
            TREE.store(tree.0, Relaxed);
            pr_info!("the previous kernel hands something over\n");
        }
        Err(what) => pr_err!("what the previous kernel hands over is lost: {}\n", what),
    }
}

/// # Safety
///
/// As for [`populate`].
unsafe fn try_populate(tree: (u64, u64), array: (u64, u64)) -> Result<(), &'static str> {
    if tree.0 % PAGE_SIZE as u64 != 0 {
        return Err("the device tree is not a page");
    }
    // SAFETY: The caller's promise; nobody writes to what is handed over.
    let mapped = unsafe { EarlyMap::new(tree.0, tree.1.min(PAGE_SIZE as u64)) };
    let mapped = mapped.ok_or("the device tree cannot be mapped")?;
    let fdt = Fdt::new(&mapped).map_err(|_| "the device tree is broken")?;
    if fdt.root().property(c"compatible") != Some(COMPATIBLE) {
        return Err("the device tree is of another version");
    }
    let map = fdt.root().number(MEMORY_MAP).filter(|it| *it != 0);
    MAP.store(
        map.ok_or("the device tree does not say what is preserved")?,
        Relaxed,
    );
    drop(mapped);

    // SAFETY: As above.
    let mapped = unsafe { EarlyMap::new(array.0, array.1) };
    let mapped = mapped.ok_or("the scratch areas cannot be mapped")?;
    let areas = mapped.areas().ok_or("the scratch areas are no array")?;
    areas::check(areas, &[tree.0..tree.0 + PAGE_SIZE as u64])?;
    // SAFETY: The caller's promise. They are in the array, and hold nothing.
    unsafe { scratch::adopt(areas, array.0) }.map_err(|_| "scratch memory cannot be used")
}
