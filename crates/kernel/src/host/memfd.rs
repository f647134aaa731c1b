// SPDX-License-Identifier: GPL-2.0-only

//! Files that are memory, and a handler for them.

use super::{arena::OwnedPage, arena::PAGE_SIZE, fd};
use crate::{
    error::{Result, code::*},
    fs::{
        File,
        handle::{Handle, anon_file},
    },
    kho::Preserved,
    liveupdate::{FileOps, Module, Retrieval, Saved, fget},
    prelude::{GFP_KERNEL, KBox},
    sync::aref::ARef,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use zerocopy_derive::FromBytes;

/// How many pages the handler can write down.
const MAX_PAGES: usize = 510;

/// A preserved file: its size in bytes, the number of its pages, and their addresses.
#[derive(FromBytes)]
#[repr(C)]
struct MemfdSer {
    size: u64,
    nr_pages: u64,
    pages: [u64; MAX_PAGES],
}

/// The contents of a file, which while it is preserved are also written down.
struct Contents {
    pages: Vec<OwnedPage>,
    size: usize,
    preserved: Option<Preserved<MemfdSer>>,
}

struct Memfd(Mutex<Contents>);

impl Handle for Memfd {
    fn ioctl(&self, _: u32, _: usize) -> Result {
        Err(ENOTTY)
    }
}

impl Memfd {
    fn of(file: &File) -> Result<MutexGuard<'_, Contents>> {
        let memfd: &Self = file.private().ok_or(EINVAL)?;
        Ok(memfd.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn file(pages: Vec<OwnedPage>, size: usize) -> Result<ARef<File>> {
        let contents = Contents {
            pages,
            size,
            preserved: None,
        };
        anon_file(c"memfd", KBox::new(Self(Mutex::new(contents)), GFP_KERNEL)?)
    }
}

/// Makes a file that holds `bytes`; gives its descriptor.
pub fn create(bytes: &[u8]) -> Result<i32> {
    let mut pages = Vec::new();
    for chunk in bytes.chunks(PAGE_SIZE) {
        let mut page = OwnedPage::alloc()?;
        page.view_mut::<[u8; PAGE_SIZE]>()[..chunk.len()].copy_from_slice(chunk);
        pages.push(page);
    }
    fd::link(Memfd::file(pages, bytes.len())?)
}

/// What the file behind `fd` holds: `EBADF`, or as [`contents`].
pub fn read(fd: i32) -> Result<Vec<u8>> {
    contents(&*fget(fd)?)
}

/// What `file` holds: `EINVAL` if it is not one of these.
pub fn contents(file: &File) -> Result<Vec<u8>> {
    let contents = Memfd::of(file)?;
    let pages = contents.pages.iter();
    let mut bytes: Vec<u8> = pages.flat_map(|it| *it.view::<[u8; PAGE_SIZE]>()).collect();
    bytes.truncate(contents.size);
    Ok(bytes)
}

/// How much `file` holds; nothing if it is not one of these.
pub(crate) fn size(file: &File) -> Option<u64> {
    Some(Memfd::of(file).ok()?.size as u64)
}

/// A handler for these files.
pub struct Handler {
    compatible: &'static str,
    module: Module,
    /// What is passed on unretrieved, by its handle.
    carried: Mutex<BTreeMap<u64, Claimed>>,
}

/// What the previous kernel preserved of a file.
struct Claimed {
    ser: OwnedPage,
    pages: Vec<OwnedPage>,
    size: usize,
}

impl Claimed {
    fn all_pages(&self) -> impl Iterator<Item = &OwnedPage> {
        self.pages.iter().chain([&self.ser])
    }
}

impl Handler {
    /// With this compatibility string.
    #[must_use]
    pub fn new(compatible: &'static str) -> Self {
        Self {
            compatible,
            module: Module::default(),
            carried: Mutex::default(),
        }
    }

    /// Forgets what the kernel before this one has passed on: these are its variables.
    pub fn rebooted(&self) {
        core::mem::forget(core::mem::take(&mut *self.carried()));
    }

    fn carried(&self) -> MutexGuard<'_, BTreeMap<u64, Claimed>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, data: u64) -> Result<Claimed> {
        if let Some(claimed) = self.carried().remove(&data) {
            return Ok(claimed);
        }
        let page = OwnedPage::claim(data).ok_or(EINVAL)?;
        let ser: &MemfdSer = page.view();
        let addrs = ser.pages.get(..ser.nr_pages as usize).ok_or(EINVAL)?;
        let claimed = addrs.iter().map(|pa| OwnedPage::claim(*pa));
        let pages: Vec<_> = claimed.collect::<Option<_>>().ok_or(EINVAL)?;
        let size = ser.size as usize;
        Ok(Claimed {
            ser: page,
            pages,
            size,
        })
    }
}

impl FileOps for Handler {
    fn compatible(&self) -> &str {
        self.compatible
    }

    fn module(&self) -> &Module {
        &self.module
    }

    fn can_preserve(&self, file: &File) -> bool {
        file.private::<Memfd>().is_some()
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        let mut contents = Memfd::of(file)?;
        if contents.pages.len() > MAX_PAGES {
            return Err(ENOSPC);
        }
        let mut ser: Preserved<MemfdSer> = Preserved::new()?;
        ser.size = contents.size as u64;
        ser.nr_pages = contents.pages.len() as u64;
        for (index, page) in contents.pages.iter().enumerate() {
            if let Err(err) = page.preserve() {
                contents.pages[..index]
                    .iter()
                    .for_each(OwnedPage::unpreserve);
                return Err(err);
            }
            ser.pages[index] = page.pa();
        }
        let data = ser.phys().0;
        contents.preserved = Some(ser);
        Ok(Saved { data })
    }

    fn unpreserve(&self, file: &File, _: Saved) {
        let Ok(mut contents) = Memfd::of(file) else {
            return;
        };
        contents.pages.iter().for_each(OwnedPage::unpreserve);
        contents.preserved = None;
    }

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        let claimed = self.claim(data)?;
        Memfd::file(claimed.pages, claimed.size)
    }

    fn carry(&self, data: u64) -> Result<u64> {
        let claimed = self.claim(data)?;
        let mut preserved = Vec::new();
        let result = claimed.all_pages().try_for_each(|page| {
            page.preserve()?;
            preserved.push(page);
            Ok(())
        });
        if result.is_err() {
            preserved.into_iter().for_each(OwnedPage::unpreserve);
        }
        self.carried().insert(data, claimed);
        result.map(|()| data)
    }

    fn uncarry(&self, data: u64) {
        let carried = self.carried();
        carried[&data].all_pages().for_each(OwnedPage::unpreserve);
    }

    fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        if let Retrieval::Waiting(_) = retrieval {
            // Claimed only to be freed.
            drop(self.claim(data));
        }
    }
}
