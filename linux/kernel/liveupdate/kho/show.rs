// SPDX-License-Identifier: GPL-2.0-only

//! `kho` in debugfs.

use crate::{
    incoming,
    outgoing::{BLOB, BLOB_SIZE},
    restore::Tally,
};
use kernel::{
    ffi::CStr,
    fmt,
    kho::{
        self,
        fdt::Page,
        scratch::{self, Area},
        show::{Blob, Folder},
        PhysAddr, Preserved,
    },
    prelude::*,
    str::CString,
    sync::SetOnce,
};

/// The largest blob that is shown of those that the previous kernel left.
const MAX_SHOWN: u64 = 64 << 10;

/// What one kernel leaves to the next.
pub(crate) struct Shown {
    blobs: Folder,
    shown: KVec<Blob>,
}

struct Column(fn(&Area) -> u64);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut areas = scratch::areas().iter();
        areas.try_for_each(|it| writeln!(f, "{:#x}", self.0(it)))
    }
}

fn text(folder: Folder, name: &CStr, text: fmt::Arguments<'_>) -> Result<Blob> {
    let mut bytes = KVVec::new();
    bytes.extend_from_slice(CString::try_from_fmt(text)?.to_bytes(), GFP_KERNEL)?;
    Blob::of(folder, name, bytes)
}

/// What became of what the previous kernel preserved.
static TALLY: SetOnce<Tally> = SetOnce::new();

/// Has a tally shown later, when there is debugfs.
pub(crate) fn remember(tally: Tally) {
    TALLY.populate(tally);
}

/// What the previous kernel left, in `kho/in`.
static INCOMING: SetOnce<Shown> = SetOnce::new();

/// Makes the folder. Shows what the previous kernel left: as it is now, since those whose memory it is free it.
pub(crate) fn incoming() -> Folder {
    let kho = Folder::new(c"kho");
    let Some(tree) = incoming::tree() else {
        return kho;
    };
    let folder = kho.folder(c"in");
    let mut shown = Shown {
        blobs: folder.folder(c"sub_fdts"),
        shown: KVec::new(),
    };
    let bytes = tree.bytes();
    // SAFETY: The tree is there for as long as the kernel runs.
    shown.keep(unsafe { Blob::new(folder, c"fdt", bytes.as_ptr().cast_mut(), bytes.len()) });
    if let Some(tally) = TALLY.as_ref() {
        shown.keep(text(folder, c"restored", fmt!("{}", tally)));
    }
    for node in tree.root().children() {
        let blob = || {
            let address = node.number(BLOB).ok_or(EINVAL)?;
            let size = node.number(BLOB_SIZE).ok_or(EINVAL)?.min(MAX_SHOWN);
            let copy = kho::copy_of(PhysAddr(address), size as usize)?;
            Blob::of(shown.blobs, node.name().ok_or(EINVAL)?, copy)
        };
        shown.keep(blob());
    }
    INCOMING.populate(shown);
    kho
}

impl Shown {
    /// Shows what this kernel leaves, in `kho/out`: the device tree, and where the next kernel allocates.
    pub(crate) fn new(kho: Folder, root: &Preserved<Page>) -> Self {
        let out = kho.folder(c"out");
        let mut shown = Self {
            blobs: out.folder(c"sub_fdts"),
            shown: KVec::new(),
        };
        // SAFETY: The page is there until the value is gone.
        let blob = unsafe { Blob::new(out, c"fdt", root.0.as_ptr().cast_mut(), root.0.len()) };
        shown.keep(blob);
        shown.keep(text(out, c"scratch_phys", fmt!("{}", Column(|it| it.addr))));
        shown.keep(text(out, c"scratch_len", fmt!("{}", Column(|it| it.size))));
        shown
    }

    fn keep(&mut self, blob: Result<Blob>) {
        let kept = blob.and_then(|it| Ok(self.shown.push(it, GFP_KERNEL)?));
        if let Err(err) = kept {
            pr_warn!("cannot show a blob in debugfs: {:?}\n", err);
        }
    }

    /// Shows a blob.
    ///
    /// # Safety
    ///
    /// It has to be there until it is [removed](Self::remove).
    pub(crate) unsafe fn add(&mut self, name: &CStr, blob: *mut u8, size: usize) {
        // SAFETY: The caller's promise.
        self.keep(unsafe { Blob::new(self.blobs, name, blob, size) });
    }

    /// Shows a blob no more.
    pub(crate) fn remove(&mut self, blob: *mut u8) {
        self.shown.retain(|it| !it.shows(blob));
    }
}
