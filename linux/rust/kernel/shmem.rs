// SPDX-License-Identifier: GPL-2.0-only

//! Files that are shared memory: memfds.
//!
//! C header: [`include/linux/shmem_fs.h`](srctree/include/linux/shmem_fs.h)

mod fresh;

pub use self::fresh::{Attributes, NewShmem};

use crate::{
    bindings, error::to_result, folio::PlacedFolio, fs::File, kho::extent::Extent, page::PAGE_SIZE,
    prelude::*,
};
use core::{ops::Range, ptr::NonNull};

/// The seals of a memfd, as `F_GET_SEALS` gives them.
pub type Seals = u32;

/// Gives way to other tasks, and says whether the calling one is being killed.
///
/// # Errors
///
/// `EINTR` if it is.
pub fn yield_killable() -> Result {
    // SAFETY: No requirements but that the caller may sleep, as all that is long may.
    unsafe { bindings::cond_resched() };
    // SAFETY: No requirements.
    if unsafe { bindings::fatal_signal_pending_current() } {
        return Err(EINTR);
    }
    Ok(())
}

/// A file that is shared memory and has no name.
///
/// # Invariants
///
/// `inode` is the file's, and that of shared memory.
#[derive(Clone, Copy)]
pub struct Shmem<'a> {
    file: &'a File,
    inode: NonNull<bindings::inode>,
}

impl<'a> Shmem<'a> {
    /// `None` if `file` is something else.
    pub fn new(file: &'a File) -> Option<Self> {
        // SAFETY: The file is there.
        let inode = NonNull::new(unsafe { bindings::shmem_file_inode(file.as_ptr()) })?;
        // SAFETY: The inode is there while the file is.
        let is_unlinked = unsafe { bindings::inode_is_unlinked(inode.as_ptr()) };
        // INVARIANT: Just asked.
        is_unlinked.then_some(Self { file, inode })
    }

    /// What all files with the same contents have in common.
    pub fn id(&self) -> usize {
        self.inode.as_ptr() as usize
    }

    #[inline]
    fn inode(&self) -> *mut bindings::inode {
        self.inode.as_ptr()
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        // SAFETY: By the type invariant the inode is there.
        unsafe { bindings::i_size_read(self.inode()) as u64 }
    }

    /// The position of the file.
    pub fn pos(&self) -> u64 {
        // SAFETY: The file is there. Whoever moves the position meanwhile gets the old or the new one.
        unsafe { core::ptr::read_volatile(&raw const (*self.file.as_ptr()).f_pos) as u64 }
    }

    /// The seals.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file cannot have seals.
    pub fn seals(&self) -> Result<Seals> {
        // SAFETY: The file is there.
        let seals = unsafe { bindings::memfd_get_seals(self.file.as_ptr()) };
        to_result(seals)?;
        Ok(seals as Seals)
    }

    /// Whether anybody may execute it.
    pub fn is_executable(&self) -> bool {
        // SAFETY: By the type invariant the inode is there.
        unsafe { bindings::inode_is_executable(self.inode()) }
    }

    /// How many pages there are, in memory and in swap; never too few.
    pub fn nr_pages(&self) -> u64 {
        // SAFETY: By the type invariant the inode is there.
        unsafe { bindings::shmem_nr_pages(self.inode()) as u64 }
    }

    /// Keeps the size as it is and the pages from being punched out.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody goes on changing the file for long: who writes to it may sleep on memory of
    /// his own for ever, and is not waited for. `EINTR` if the task is killed.
    pub fn freeze(&self) -> Result {
        // SAFETY: The inode is that of shared memory.
        to_result(unsafe { bindings::shmem_freeze_mapping(self.inode()) })
    }

    /// Undoes [`freeze`](Self::freeze). It waits for nobody.
    pub fn unfreeze(&self) {
        // SAFETY: The inode is that of shared memory.
        unsafe { bindings::shmem_unfreeze_mapping(self.inode()) };
    }

    /// Keeps new pages from appearing: faults in holes wait, writes to them fail with `EPERM`.
    ///
    /// It waits for nobody who sleeps, so that a reboot may call it.
    pub fn freeze_contents(&self) {
        // SAFETY: The inode is that of shared memory.
        unsafe { bindings::shmem_freeze_contents(self.inode(), true) };
    }

    /// Undoes [`freeze_contents`](Self::freeze_contents).
    pub fn unfreeze_contents(&self) {
        // SAFETY: The inode is that of shared memory.
        unsafe { bindings::shmem_freeze_contents(self.inode(), false) };
    }

    /// Visits all folios with pages in this range, in the order of the file.
    ///
    /// What is in swap is brought in, what lies where it cannot stay is moved, and what nobody has
    /// written yet is zeroed. Holes are left out. May take long.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EIO` if a page cannot be read from swap; `EHWPOISON` if one is broken; `EINTR` if
    /// the task is killed; that of `visit`.
    pub fn for_each_folio(
        &self,
        mut range: Range<u64>,
        mut visit: impl FnMut(PlacedFolio) -> Result,
    ) -> Result {
        let mut batch = Batch::new();
        while !range.is_empty() {
            yield_killable()?;
            batch.find(self, &mut range);
            if batch.is_empty() {
                break;
            }
            let settled = batch.settle(self);
            while let Some(folio) = batch.next_settled() {
                visit(folio)?;
            }
            if let Err((index, err)) = settled {
                // This index again, and what is behind it: it may have moved meanwhile.
                range.start = index;
                batch.put();
                match err {
                    err if err == ENOENT => self.swap_in(index)?,
                    err if err == EXDEV => self.migrate(index)?,
                    // It was on its way to swap before we had the reference.
                    err if err == EAGAIN => {}
                    err => return Err(err),
                }
            }
        }
        Ok(())
    }

    fn swap_in(&self, index: u64) -> Result {
        // SAFETY: By the type invariant the inode is that of shared memory.
        let err = unsafe { bindings::shmem_swap_in(self.inode(), index as usize) };
        // The page was punched out, or is beyond the end: there is nothing to bring in.
        if err == ENOENT.to_errno() || err == EINVAL.to_errno() {
            return Ok(());
        }
        to_result(err)
    }

    /// Has the folio at `index` moved to memory where it can stay.
    fn migrate(&self, index: u64) -> Result {
        let start = index * PAGE_SIZE as u64;
        if start >= self.size() {
            return Ok(());
        }
        let (start, mut pinned, mut offset) = (start as i64, core::ptr::null_mut(), 0);
        let file = self.file.as_ptr();
        // SAFETY: The file is there, and there is room for one folio.
        let found =
            unsafe { bindings::memfd_pin_folios(file, start, start, &mut pinned, 1, &mut offset) };
        if found < 0 {
            return Err(Error::from_errno(found as i32));
        }
        if found > 0 {
            // SAFETY: The pin is that of the call above. The folio does not go back where it was.
            unsafe { bindings::unpin_folio(pinned) };
        }
        Ok(())
    }
}

/// Some entries of a file's page cache. Those that nobody has asked for are given back.
///
/// # Invariants
///
/// The entries from `next` on are folios with a reference that is this value's, or stand for what
/// is in swap. The first `settled` are folios, and `extents` their pages.
struct Batch {
    raw: bindings::folio_batch,
    extents: [u64; Self::SIZE],
    indices: [usize; Self::SIZE],
    next: usize,
    settled: usize,
}

impl Batch {
    const SIZE: usize = bindings::FOLIO_BATCH_SIZE as usize;

    fn new() -> Self {
        // INVARIANT: There is nothing.
        Self {
            raw: pin_init::zeroed(),
            extents: [0; Self::SIZE],
            indices: [0; Self::SIZE],
            next: 0,
            settled: 0,
        }
    }

    /// Takes the first entries in `range`, whose start is moved behind them, in place of those that are
    /// there.
    fn find(&mut self, shmem: &Shmem<'_>, range: &mut Range<u64>) {
        self.put();
        let mut start = range.start as usize;
        // SAFETY: The mapping is there while the file is. The batch has as many indices as folios.
        unsafe {
            bindings::find_get_entries(
                (*shmem.inode()).i_mapping,
                &mut start,
                range.end as usize - 1,
                &mut self.raw,
                self.indices.as_mut_ptr(),
            )
        };
        // INVARIANT: The call has taken the references.
        (self.next, self.settled) = (0, 0);
        range.start = start as u64;
    }

    /// Makes sure that the folios stay part of the file, in their places, with contents.
    ///
    /// # Errors
    ///
    /// Of the first where it is not so, the index and the reason: `ENOENT`, it is in swap; `EXDEV`, it
    /// lies where it cannot stay; `EAGAIN`, it is not part of the file any more; `EHWPOISON`.
    fn settle(&mut self, shmem: &Shmem<'_>) -> Result<(), (u64, Error)> {
        let mut err = 0;
        // SAFETY: The entries are as the type invariant says; there are as many extents and indices. The
        // inode is there.
        let settled = unsafe {
            bindings::folios_settle(
                &mut self.raw,
                (*shmem.inode()).i_mapping,
                self.extents.as_mut_ptr(),
                self.indices.as_mut_ptr(),
                &mut err,
            )
        };
        // INVARIANT: The call has found so many folios.
        self.settled = settled as usize;
        to_result(err).map_err(|err| (self.indices[self.settled] as u64, err))
    }

    fn is_empty(&self) -> bool {
        self.raw.nr == 0
    }

    #[inline]
    fn next_settled(&mut self) -> Option<PlacedFolio> {
        if self.next >= self.settled {
            return None;
        }
        let at = self.next;
        let folio = NonNull::new(self.raw.folios[at])?;
        let (extent, index) = (Extent::from_raw(self.extents[at]), self.indices[at] as u64);
        // INVARIANT: The reference is given away.
        self.next += 1;
        // SAFETY: By the type invariant these are the folio, a reference to it and its pages.
        Some(unsafe { PlacedFolio::from_raw(folio, extent, index) })
    }

    /// Gives back what is left.
    fn put(&mut self) {
        // SAFETY: By the type invariant the references are ours.
        unsafe { bindings::folio_batch_put(&mut self.raw, self.next as u32) };
        // INVARIANT: They are given back.
        self.next = usize::from(self.raw.nr);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.put();
    }
}
