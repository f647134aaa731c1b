// SPDX-License-Identifier: GPL-2.0-only

//! Files of shared memory that are made from folios.

use super::Seals;
use crate::{
    bindings,
    error::{from_err_ptr, to_result},
    folio::Folio,
    fs::File,
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
    /// How many were inserted.
    nr_folios: usize,
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
            nr_folios: 0,
            _not_sync: PhantomData,
        })
    }

    /// Makes folios part of the file, each at the index of the same number, and charges them to the
    /// calling task's group.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if a folio of its size cannot be there; `EEXIST` if there is one already.
    /// That folio and those behind it are as they were then.
    pub fn insert(&mut self, folios: &[Folio], indices: &[u64]) -> Result {
        if folios.len() != indices.len() {
            return Err(EINVAL);
        }
        let (raw, nr) = (folios.as_ptr().cast_mut().cast(), folios.len() as u32);
        let mut added = 0;
        // SAFETY: There are `nr` pointers to folios, which nobody else can find, and places. The inode is
        // there while the file is, and nobody else has it.
        let (charged, result) = unsafe {
            let (inode, places) = (self.inode.as_ptr(), indices.as_ptr());
            let charged = bindings::folios_charge(raw, nr);
            let result = bindings::shmem_add_folios(inode, raw, places, charged, &mut added);
            bindings::folios_uncharge(raw.add(added as usize), charged - added);
            (charged, result)
        };
        self.nr_folios += added as usize;
        to_result(result)?;
        if charged < nr {
            return Err(ENOMEM);
        }
        Ok(())
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

    /// Takes everything out again: the folios, the first of which were inserted, are as they were
    /// before.
    pub fn abandon(self, folios: &[Folio]) {
        let nr = self.nr_folios.min(folios.len());
        drop(self);
        // SAFETY: There are so many pointers to folios that are part of no file any more.
        unsafe { bindings::folios_uncharge(folios.as_ptr().cast_mut().cast(), nr as u32) };
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
