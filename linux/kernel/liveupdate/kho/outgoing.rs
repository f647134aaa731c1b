// SPDX-License-Identifier: GPL-2.0-only

//! What this kernel leaves to the next one: extents, and a device tree that says what they are.

use crate::{areas::Free, extents::Extents, show::Shown};
use kernel::{
    ffi::CStr,
    kho::{
        extent::Extent,
        fdt::{FdtMut, Page},
        scratch,
        show::Folder,
        Preserved,
    },
    new_mutex,
    prelude::*,
    sync::{Mutex, SetOnce},
    warn_on,
};

/// What tells the format.
pub(crate) const COMPATIBLE: &[u8] = b"kho-v4\0";
/// The property with the address of the tree of extents.
pub(crate) const MEMORY_MAP: &CStr = c"preserved-memory-map";
/// The properties of a blob.
pub(crate) const BLOB: &CStr = c"preserved-data";
pub(crate) const BLOB_SIZE: &CStr = c"blob-size";

/// Set once, when the kernel has memory to give.
static OUTGOING: SetOnce<Pin<KBox<Outgoing>>> = SetOnce::new();

type Root = FdtMut<Preserved<Page>>;

#[pin_data]
struct Outgoing {
    #[pin]
    extents: Mutex<Extents>,
    #[pin]
    root: Mutex<Option<(Root, Shown)>>,
}

fn outgoing() -> Result<&'static Outgoing> {
    OUTGOING.as_ref().map(|it| &**it).ok_or(EINVAL)
}

/// Makes room for what this kernel leaves, and shows it in a folder. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init(folder: Folder) -> Result {
    let extents = Extents::new()?;
    let tree = extents.tree().phys().to_ne_bytes();
    let init = pin_init!(Outgoing {
        extents <- new_mutex!(extents, "kho_extents"),
        root <- new_mutex!(None, "kho_root"),
    });
    OUTGOING.populate(KBox::pin_init(init, GFP_KERNEL)?);
    let root = FdtMut::new(
        Preserved::new()?,
        &[(c"compatible", COMPATIBLE), (MEMORY_MAP, &tree)],
    )?;
    let shown = Shown::new(folder, root.page());
    *outgoing()?.root.lock() = Some((root, shown));
    Ok(())
}

/// Where the next kernel finds the device tree.
pub(crate) fn root_phys() -> Result<u64> {
    let guard = outgoing()?.root.lock();
    let (root, _) = guard.as_ref().ok_or(EINVAL)?;
    Ok(root.page().phys().0)
}

/// Where memory can be preserved.
pub(crate) fn free() -> Free<'static> {
    Free::new(scratch::memory(), scratch::areas())
}

/// Preserves extents, each of them for one owner, who keeps it in place. May sleep.
///
/// # Errors
///
/// `EINVAL`: the next kernel allocates there. `ENXIO`: it does not have that memory when it boots. `EEXIST`: somebody
/// preserves it already. `ENOMEM`. None is preserved.
pub(crate) fn preserve(extents: impl Iterator<Item = Extent> + Clone) -> Result {
    let mut free = free();
    let mut last = Extent::FIRST;
    let preserved = outgoing()?.extents.lock().insert(extents, |it| {
        last = it;
        free.check(&it.pages())
    });
    preserved.inspect_err(|err| refuse(last, *err))
}

/// Says why an extent cannot be preserved.
#[cold]
fn refuse(extent: Extent, err: Error) {
    let why = match err {
        EINVAL => "they are scratch memory, or not aligned",
        ENXIO => "the next kernel does not boot with them",
        EEXIST => "some are preserved already",
        _ => return,
    };
    let (nr, pfn) = (extent.nr_pages(), extent.pfn());
    pr_err!("{} pages at {:#x} cannot be preserved: {}\n", nr, pfn, why);
}

/// Undoes [`preserve`]. May sleep.
pub(crate) fn unpreserve(extents: impl Iterator<Item = Extent> + Clone) {
    let first = extents.clone().map(Extent::pfn).next();
    let missing = outgoing().map_or(0, |it| it.extents.lock().remove(extents));
    if missing > 0 {
        warn_on!(true);
        pr_err!(
            "{} extents from page {:#x?} on were not preserved\n",
            missing,
            first
        );
    }
}

/// Publishes a blob of preserved memory under a name. May sleep.
///
/// # Errors
///
/// `EEXIST`: the name is taken. `ENOMEM`: there is no room in the device tree.
///
/// # Safety
///
/// The memory has to be there until it is [removed](remove).
pub(crate) unsafe fn add(name: &CStr, blob: *mut u8, phys: u64, size: usize) -> Result {
    let mut guard = outgoing()?.root.lock();
    let (root, shown) = (*guard).as_mut().ok_or(EINVAL)?;
    let (address, size_bytes) = (phys.to_ne_bytes(), (size as u64).to_ne_bytes());
    root.add(name, &[(BLOB, &address), (BLOB_SIZE, &size_bytes)])?;
    // SAFETY: The caller's promise.
    unsafe { shown.add(name, blob, size) };
    Ok(())
}

/// Withdraws a blob. May sleep.
pub(crate) fn remove(blob: *mut u8, phys: u64) {
    let removed = outgoing().and_then(|it| {
        let mut guard = it.root.lock();
        let (root, shown) = (*guard).as_mut().ok_or(EINVAL)?;
        shown.remove(blob);
        root.remove(BLOB, phys)
    });
    if let Err(err) = removed {
        pr_err!("no blob is published at {:#x}: {:?}\n", phys, err);
    }
}
