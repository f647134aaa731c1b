// SPDX-License-Identifier: GPL-2.0-only

//! What users do with shared memory.

use super::{arena::PAGE_SIZE, machine, peek, poke};
use crate::{
    alloc::{GFP_KERNEL, KBox},
    error::{Result, code::ENOTTY},
    folio::{Folio, max_order},
    fs::{
        File,
        handle::{Handle, anon_file},
    },
    shmem::Attributes,
    sync::aref::ARef,
};
use core::ops::Range;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A file's inode, and its position.
pub(crate) struct Inode {
    pub(crate) size: u64,
    pub(crate) pos: u64,
    pub(crate) seals: u32,
    pub(crate) is_executable: bool,
    pub(crate) is_frozen: bool,
    pub(crate) is_complete: bool,
    /// By the index of the first page.
    pub(crate) folios: BTreeMap<u64, Folio>,
}

impl Inode {
    /// The folios with pages in this range, in order.
    pub(crate) fn folios_in(&self, range: Range<u64>) -> Vec<(u64, Folio)> {
        // A folio that begins before the range may end in it.
        let first = range.start.saturating_sub((1 << max_order()) - 1);
        let folios = self.folios.range(first..range.end);
        folios
            .filter(|(index, it)| *index + it.nr_pages() > range.start)
            .map(|(index, it)| (*index, it.clone()))
            .collect()
    }

    /// Whether nothing is there.
    pub(crate) fn is_hole(&self, index: u64, pages: u64) -> bool {
        self.folios_in(index..index + pages).is_empty()
    }
}

pub(crate) struct Memory(Mutex<Inode>);

impl Handle for Memory {
    fn ioctl(&self, _: u32, _: usize) -> Result {
        Err(ENOTTY)
    }
}

/// How much `file` holds; nothing if it is not one of these.
pub(crate) fn size(file: &File) -> Option<u64> {
    let memory: &Memory = file.private()?;
    Some(memory.lock().size)
}

impl Memory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn file(attributes: &Attributes) -> Result<ARef<File>> {
        let inode = Inode {
            size: attributes.size,
            pos: attributes.pos,
            seals: attributes.seals,
            is_executable: attributes.is_executable,
            is_frozen: false,
            is_complete: false,
            folios: BTreeMap::new(),
        };
        anon_file(c"memfd", KBox::new(Self(Mutex::new(inode)), GFP_KERNEL)?)
    }
}

fn memory(file: &File) -> &Memory {
    file.private().expect("it is shared memory")
}

/// Makes a file that has nothing in it.
///
/// # Errors
///
/// `ENOMEM`.
pub fn create(attributes: &Attributes) -> Result<ARef<File>> {
    Memory::file(attributes)
}

/// Writes to a hole of the file: a new folio with this in each page. It comes right behind the last one in memory, if it may,
/// or with `gap` pages between.
///
/// # Panics
///
/// If there is something already, or nothing can be there.
pub fn fill(file: &File, index: u64, order: u8, gap: u64, contents: u64) {
    let machine = machine::current();
    let pfn = {
        let mut arena = machine.arena.lock();
        arena.skip(gap);
        arena.alloc_folio(order)
    };
    for pfn in pfn..pfn + (1 << order) {
        poke(pfn * PAGE_SIZE as u64, 0, &(contents + pfn).to_le_bytes());
    }
    let mut inode = memory(file).lock();
    assert!(!inode.is_complete, "nothing can be added");
    assert!(index.is_multiple_of(1 << order) && inode.is_hole(index, 1 << order));
    inode.folios.insert(index, Folio::from_pfn(pfn));
}

/// Moves the position.
pub fn seek(file: &File, pos: u64) {
    memory(file).lock().pos = pos;
}

/// Adds seals.
pub fn add_seals(file: &File, seals: u32) {
    memory(file).lock().seals |= seals;
}

/// What can be seen of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// In bytes.
    pub size: u64,
    /// The position.
    pub pos: u64,
    /// The seals.
    pub seals: u32,
    /// Whether anybody may execute it.
    pub is_executable: bool,
    /// Whether it can be truncated.
    pub is_frozen: bool,
    /// Whether holes cannot be filled.
    pub is_complete: bool,
    /// What the pages hold, without holes.
    pub pages: BTreeMap<u64, u64>,
}

/// The orders of a file's folios.
#[must_use]
pub fn orders(file: &File) -> Vec<u32> {
    let inode = memory(file).lock();
    inode.folios.values().map(Folio::order).collect()
}

/// What can be seen of a file.
///
/// # Panics
///
/// If one of its pages is not there.
#[must_use]
pub fn show(file: &File) -> Shown {
    let inode = memory(file).lock();
    let mut pages = BTreeMap::new();
    for (index, folio) in &inode.folios {
        for page in 0..folio.nr_pages() {
            let bytes = peek((folio.pfn() + page) * PAGE_SIZE as u64).expect("it is there");
            let contents = bytes[..8].try_into().expect("a page has 8 bytes");
            pages.insert(index + page, u64::from_le_bytes(contents));
        }
    }
    Shown {
        size: inode.size,
        pos: inode.pos,
        seals: inode.seals,
        is_executable: inode.is_executable,
        is_frozen: inode.is_frozen,
        is_complete: inode.is_complete,
        pages,
    }
}
