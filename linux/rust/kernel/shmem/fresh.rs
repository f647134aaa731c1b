// SPDX-License-Identifier: GPL-2.0-only

//! Files of shared memory that are made from folios.

use super::Seals;
use crate::{
    bindings,
    error::{from_err_ptr, to_result},
    folio::Folio,
    fs::File,
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef,
};
use core::{marker::PhantomData, ptr::NonNull};

/// What a new file is to be like.
pub struct Attributes {
    /// In bytes.
    pub size: u64,
    /// Its position.
    pub pos: u64,
    /// Its seals.
    pub seals: Seals,
    /// Whether anybody may execute it.
    pub is_executable: bool,
}

/// A file that is being filled with folios, and that nobody else can see.
///
/// Dropping it takes the folios out again.
///
/// # Invariants
///
/// `inode` is the file's, and that of shared memory.
pub struct NewShmem {
    file: Option<ARef<File>>,
    inode: NonNull<bindings::inode>,
    accounted: u64,
    _not_sync: PhantomData<*mut ()>,
}

impl NewShmem {
    /// An empty file, with room for so many pages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`, `ENFILE`.
    pub fn new(attributes: &Attributes, pages: u64) -> Result<Self> {
        // SAFETY: No requirements.
        let file = unsafe { bindings::memfd_alloc(attributes.is_executable) };
        let file = NonNull::new(from_err_ptr(file)?).ok_or(ENOMEM)?;
        // SAFETY: The file is new, nobody has locked its position, and the reference is ours.
        let file: ARef<File> = unsafe { ARef::from_raw(file.cast()) };
        let raw = file.as_ptr();
        // SAFETY: The file is ours alone; sizes and positions were checked to be those of a file.
        let inode = unsafe {
            let inode = NonNull::new(bindings::shmem_file_inode(raw)).ok_or(EINVAL)?;
            to_result(bindings::memfd_add_seals(raw, attributes.seals))?;
            bindings::vfs_setpos(raw, attributes.pos as i64, i64::MAX);
            bindings::i_size_write(inode.as_ptr(), attributes.size as i64);
            to_result(bindings::shmem_acct_blocks(inode.as_ptr(), pages as isize))?;
            inode
        };
        // INVARIANT: `memfd_alloc_file` makes files of shared memory without that flag.
        Ok(Self {
            file: Some(file),
            inode,
            accounted: pages,
            _not_sync: PhantomData,
        })
    }

    /// Makes the folio part of the file, and charges it to the calling task's group.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if a folio of its size cannot be there; `EEXIST` if there is one already.
    /// The folio is as it was then.
    pub fn insert(&mut self, folio: &Folio, index: u64) -> Result {
        if index % folio.nr_pages() != 0 || index > (i64::MAX as u64) >> PAGE_SHIFT {
            return Err(EINVAL);
        }
        let raw = folio.as_ptr();
        // SAFETY: Nobody else can find the folio. It is of an order that the page cache allows, and
        // `index` is aligned to it.
        unsafe {
            bindings::folio_prepare_shmem(raw);
            let charged = to_result(bindings::mem_cgroup_charge_current(raw));
            let inserted = charged.and_then(|()| {
                let inserted = bindings::shmem_insert(raw, self.inode.as_ptr(), index as usize);
                if inserted != 0 {
                    bindings::mem_cgroup_uncharge(raw);
                }
                to_result(inserted)
            });
            if inserted.is_ok() {
                bindings::folio_mark_uptodate(raw);
                bindings::folio_mark_dirty(raw);
            }
            bindings::folio_unlock(raw);
            inserted
        }
    }

    /// Ends it; gives the file. `folios` are those that were inserted.
    pub fn publish(mut self, folios: impl Iterator<Item = Folio>) -> Result<ARef<File>> {
        // SAFETY: The inode is there while the file is.
        unsafe { bindings::shmem_recalc(self.inode.as_ptr(), self.accounted as isize) };
        for folio in folios {
            // SAFETY: The folio is part of the file, and not on a list yet.
            unsafe { bindings::folio_add_lru(folio.as_ptr()) };
        }
        self.file.take().ok_or(EINVAL)
    }

    /// Takes everything out again: the folios are as they were before.
    pub fn abandon<'a>(self, folios: impl Iterator<Item = &'a Folio>) {
        drop(self);
        for folio in folios {
            // SAFETY: The folio is part of no file any more.
            unsafe { bindings::mem_cgroup_uncharge(folio.as_ptr()) };
        }
    }
}

impl Drop for NewShmem {
    fn drop(&mut self) {
        if self.file.is_some() {
            // SAFETY: The inode is there while the file is; nobody else has it. What was accounted and
            // not used is given back by the first call, what was used by the second.
            unsafe {
                bindings::shmem_recalc(self.inode.as_ptr(), self.accounted as isize);
                bindings::shmem_truncate_range(self.inode.as_ptr(), 0, u64::MAX);
            }
        }
    }
}
