// SPDX-License-Identifier: GPL-2.0-only

//! Files that are shared memory: memfds.
//!
//! C header: [`include/linux/shmem_fs.h`](srctree/include/linux/shmem_fs.h)

mod fresh;

pub use self::fresh::{Attributes, NewShmem};

use crate::{bindings, error::to_result, folio::Folio, fs::File, page::PAGE_SIZE, prelude::*};
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
        mut visit: impl FnMut(Folio) -> Result,
    ) -> Result {
        while !range.is_empty() {
            yield_killable()?;
            let mut batch = Batch::find(self, &mut range);
            let mut block = usize::MAX;
            if batch.is_empty() {
                break;
            }
            while let Some((index, entry)) = batch.next() {
                let placed = entry.and_then(|folio| self.place(folio, index, &mut block));
                match placed {
                    Ok(folio) => visit(folio)?,
                    Err(Unplaced::Swapped) => {
                        self.swap_in(index)?;
                        // This index again, and what is behind it: it may have moved meanwhile.
                        range.start = index;
                        break;
                    }
                    Err(Unplaced::Gone) => {
                        range.start = index;
                        break;
                    }
                    Err(Unplaced::Failed(err)) => return Err(err),
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

    /// Makes sure that the folio found at `index` stays part of the file, in its place, with contents.
    /// `block` is the last block of pages where that was so.
    #[inline]
    fn place(&self, folio: Folio, index: u64, block: &mut usize) -> Result<Folio, Unplaced> {
        let raw = folio.as_ptr();
        // SAFETY: The folio is referenced; the inode is there.
        let settled = unsafe { bindings::folio_settle(raw, (*self.inode()).i_mapping, block) };
        if settled == 0 {
            return Ok(folio);
        }
        match Error::from_errno(settled) {
            err if err == EXDEV => {
                drop(folio);
                self.migrate(index)
            }
            // It was on its way to swap before we had the reference.
            err if err == EAGAIN => Err(Unplaced::Gone),
            err => Err(Unplaced::Failed(err)),
        }
    }

    /// Has the folio at `index` moved to memory where it can stay.
    fn migrate(&self, index: u64) -> Result<Folio, Unplaced> {
        let start = index * PAGE_SIZE as u64;
        let mut pinned = core::ptr::null_mut();
        let mut offset = 0;
        if start >= self.size() {
            return Err(Unplaced::Gone);
        }
        let start = start as i64;
        // SAFETY: The file is there, and there is room for one folio.
        let found = unsafe {
            bindings::memfd_pin_folios(
                self.file.as_ptr(),
                start,
                start,
                &mut pinned,
                1,
                &mut offset,
            )
        };
        if found < 0 {
            return Err(Unplaced::Failed(Error::from_errno(found as i32)));
        }
        let Some(raw) = NonNull::new(pinned) else {
            return Err(Unplaced::Gone);
        };
        // SAFETY: The folio is pinned, so that a reference to it may be taken.
        let folio = unsafe {
            bindings::folio_get(pinned);
            Folio::from_raw(raw)
        };
        // SAFETY: The pin is that of the call above.
        unsafe { bindings::unpin_folio(pinned) };
        self.place(folio, index, &mut { usize::MAX })
    }
}

/// Why a folio cannot be visited.
enum Unplaced {
    /// It is in swap.
    Swapped,
    /// It is not part of the file any more; something else may stand there.
    Gone,
    Failed(Error),
}

/// Some entries of a file's page cache. Those that nobody has asked for are given back.
struct Batch {
    raw: bindings::folio_batch,
    indices: [usize; bindings::FOLIO_BATCH_SIZE as usize],
    next: usize,
}

impl Batch {
    /// The first entries in `range`, whose start is moved behind them.
    fn find(shmem: &Shmem<'_>, range: &mut Range<u64>) -> Self {
        let mut this = Self {
            raw: pin_init::zeroed(),
            indices: [0; bindings::FOLIO_BATCH_SIZE as usize],
            next: 0,
        };
        let mut start = range.start as usize;
        // SAFETY: The mapping is there while the file is. The batch has as many indices as folios.
        unsafe {
            bindings::find_get_entries(
                (*shmem.inode()).i_mapping,
                &mut start,
                range.end as usize - 1,
                &mut this.raw,
                this.indices.as_mut_ptr(),
            )
        };
        range.start = start as u64;
        this
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.raw.nr == 0
    }

    #[inline]
    fn next(&mut self) -> Option<(u64, Result<Folio, Unplaced>)> {
        if self.next == usize::from(self.raw.nr) {
            return None;
        }
        let entry = self.raw.folios[self.next];
        let index = self.indices[self.next] as u64;
        self.next += 1;
        // SAFETY: It only looks at the bits of the pointer.
        let is_value = unsafe { bindings::xa_is_value(entry.cast()) };
        let folio = NonNull::new(entry).filter(|_| !is_value);
        // SAFETY: What is not a value is a folio, with a reference that the batch had.
        let folio = folio.map(|it| unsafe { Folio::from_raw(it) });
        Some((index, folio.ok_or(Unplaced::Swapped)))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}
