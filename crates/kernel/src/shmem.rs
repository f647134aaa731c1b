// SPDX-License-Identifier: GPL-2.0-only

//! Files that are shared memory: memfds. [`host::shmem`](crate::host::shmem) is what their users do with them.

use crate::{
    alloc::{GFP_KERNEL, try_alloc},
    error::{Result, code::*},
    folio::{Folio, PlacedFolio},
    fs::File,
    host::{machine, shmem::Memory},
    sync::aref::ARef,
};
use core::ops::Range;

/// The seals of a memfd, as `F_GET_SEALS` gives them.
pub type Seals = u32;

/// Gives way to other tasks, and says whether the calling one is being killed.
///
/// # Errors
///
/// `EINTR` if it is.
pub fn yield_killable() -> Result {
    match machine::current().killing.succeeds() {
        true => Ok(()),
        false => Err(EINTR),
    }
}

/// A file that is shared memory and has no name.
#[derive(Clone, Copy)]
pub struct Shmem<'a>(&'a Memory);

impl<'a> Shmem<'a> {
    /// `None` if `file` is something else.
    #[must_use]
    pub fn new(file: &'a File) -> Option<Self> {
        file.private().map(Self)
    }

    /// What all files with the same contents have in common.
    #[must_use]
    pub fn id(&self) -> usize {
        core::ptr::from_ref(self.0).addr()
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.lock().size
    }

    /// The position of the file.
    #[must_use]
    pub fn pos(&self) -> u64 {
        self.0.lock().pos
    }

    /// The seals.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file cannot have seals.
    pub fn seals(&self) -> Result<Seals> {
        Ok(self.0.lock().seals)
    }

    /// Whether anybody may execute it.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.0.lock().is_executable
    }

    /// How many pages there are.
    #[must_use]
    pub fn nr_pages(&self) -> u64 {
        self.0.lock().folios.values().map(Folio::nr_pages).sum()
    }

    /// Keeps the size as it is and the pages from being punched out.
    ///
    /// # Errors
    ///
    /// None here: nobody else is at work on the file.
    pub fn freeze(&self) -> Result {
        let was_frozen = core::mem::replace(&mut self.0.lock().is_frozen, true);
        assert!(!was_frozen, "frozen twice");
        Ok(())
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn unfreeze(&self) {
        let was_frozen = core::mem::take(&mut self.0.lock().is_frozen);
        assert!(was_frozen, "not frozen");
    }

    /// Keeps new pages from appearing.
    pub fn freeze_contents(&self) {
        self.0.lock().is_complete = true;
    }

    /// Undoes [`freeze_contents`](Self::freeze_contents).
    pub fn unfreeze_contents(&self) {
        self.0.lock().is_complete = false;
    }

    /// Visits all folios with pages in this range, in the order of the file.
    ///
    /// # Errors
    ///
    /// `EINTR` if the task is killed; that of `visit`.
    pub fn for_each_folio(
        &self,
        range: Range<u64>,
        mut visit: impl FnMut(PlacedFolio) -> Result,
    ) -> Result {
        let folios = self.0.lock().folios_in(range);
        for (index, folio) in folios {
            yield_killable()?;
            visit(PlacedFolio::new(folio, index))?;
        }
        Ok(())
    }
}

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
pub struct NewShmem {
    file: ARef<File>,
    accounted: u64,
    nr_folios: usize,
}

impl NewShmem {
    /// An empty file, with room for so many pages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(attributes: &Attributes, pages: u64) -> Result<Self> {
        // The file, and its pages on the account of shared memory.
        try_alloc(GFP_KERNEL)?;
        try_alloc(GFP_KERNEL)?;
        Ok(Self {
            file: Memory::file(attributes)?,
            accounted: pages,
            nr_folios: 0,
        })
    }

    fn memory(&self) -> &Memory {
        self.file.private().expect("it is shared memory")
    }

    /// Makes folios part of the file, each at the index of the same number, and charges them to the
    /// calling task's group.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if a folio of its size cannot be there; `EEXIST` if there is one already.
    /// That folio and those behind it are as they were then.
    pub fn insert(&mut self, folios: &[Folio], indices: &[u64]) -> Result {
        assert_eq!(folios.len(), indices.len());
        for (folio, index) in folios.iter().zip(indices) {
            if index % folio.nr_pages() != 0 {
                return Err(EINVAL);
            }
            if !self.memory().lock().is_hole(*index, folio.nr_pages()) {
                return Err(EEXIST);
            }
            // The charge, and the page cache's tree.
            try_alloc(GFP_KERNEL)?;
            try_alloc(GFP_KERNEL)?;
            self.memory().lock().folios.insert(*index, folio.clone());
            self.nr_folios += 1;
        }
        Ok(())
    }

    /// Ends it; gives the file. `folios` are those that were inserted.
    ///
    /// # Errors
    ///
    /// None here.
    ///
    /// # Panics
    ///
    /// If other folios were inserted, or the file was made for other pages.
    pub fn publish(self, folios: impl Iterator<Item = Folio>) -> Result<ARef<File>> {
        assert_eq!(folios.count(), self.nr_folios);
        let file = self.file.clone();
        let used = Shmem::new(&file).map(|it| it.nr_pages());
        assert_eq!(used, Some(self.accounted));
        Ok(file)
    }

    /// Takes everything out again: the folios, the first of which were inserted, are as they were
    /// before.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn abandon(self, folios: &[Folio]) {
        assert!(self.nr_folios <= folios.len());
    }
}
