// SPDX-License-Identifier: GPL-2.0-only

//! A memfd that is preserved for the next kernel.
//!
//! Its folios are referenced, so that they stay where they are, and neighbours in memory and in the
//! file are handed over as one folio. Holes stay holes: pages that appear later are added by
//! [`Outgoing::freeze`].

use crate::{
    abi::{MemfdSer, ALL_SEALS, SEALS_OF_EXECUTABLE, SEAL_EXEC, SEAL_FUTURE_WRITE},
    folios::PreservedFolios,
    not_supported,
};
use kernel::{
    kho::{PhysAddr, Preserved},
    prelude::*,
    shmem::Shmem,
};

/// A preserved memfd. Dropping it unpreserves its pages.
pub(crate) struct Outgoing {
    folios: PreservedFolios,
    ser: Preserved<MemfdSer>,
    /// How many entries there were before [`freeze`](Self::freeze).
    first: usize,
}

impl Outgoing {
    /// Preserves a file. May take long.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for seals that the format cannot carry; `ENOMEM`; `EIO`, `EHWPOISON`; `EINTR` if
    /// the task is killed. Nothing has changed then.
    pub(crate) fn new(file: &Shmem<'_>) -> Result<KBox<Self>> {
        file.freeze()?;
        let preserved = Self::new_frozen(file);
        if preserved.is_err() {
            file.unfreeze();
        }
        preserved
    }

    fn new_frozen(file: &Shmem<'_>) -> Result<KBox<Self>> {
        let mut this = KBox::new(
            Self {
                folios: PreservedFolios::new(),
                ser: Preserved::new()?,
                first: 0,
            },
            GFP_KERNEL,
        )?;
        this.folios.add_missing(file)?;
        this.first = this.folios.len();
        this.describe(file)?;
        Ok(this)
    }

    /// Writes down what may have changed.
    fn describe(&mut self, file: &Shmem<'_>) -> Result {
        let (nr_folios, folios) = self.folios.describe();
        *self.ser = MemfdSer {
            pos: file.pos(),
            size: file.size(),
            seals: seals_of(file)?,
            flags: 0,
            nr_folios,
            folios,
        };
        Ok(())
    }

    /// Where the next kernel finds it.
    pub(crate) fn phys(&self) -> PhysAddr {
        self.ser.phys()
    }

    /// Last call before the jump: adds pages that have appeared, seals and the position.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the file is then as it was.
    pub(crate) fn freeze(&mut self, file: &Shmem<'_>) -> Result {
        file.freeze_contents();
        let added = if file.nr_pages() == self.folios.nr_pages() {
            Ok(())
        } else {
            self.folios.add_missing(file)
        };
        let frozen = added.and_then(|()| self.describe(file));
        if frozen.is_err() {
            self.unfreeze(file);
        }
        frozen
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn unfreeze(&mut self, file: &Shmem<'_>) {
        self.folios.truncate(self.first);
        file.unfreeze_contents();
    }

    /// Undoes [`new`](Self::new).
    pub(crate) fn unpreserve(this: KBox<Self>, file: &Shmem<'_>) {
        drop(this);
        file.unfreeze();
    }
}

/// The seals as they are handed over.
///
/// The format does not say whether a file may be executed. A file that may be has, with
/// `F_SEAL_EXEC`, all seals of [`SEALS_OF_EXECUTABLE`]; one that may not be, and has all of them too,
/// is told from it by leaving out the one that says nothing beside `F_SEAL_WRITE`.
fn seals_of(file: &Shmem<'_>) -> Result<u32> {
    let seals = file.seals()?;
    if seals & !ALL_SEALS != 0 {
        return Err(not_supported());
    }
    let ambiguous = seals & SEALS_OF_EXECUTABLE == SEALS_OF_EXECUTABLE;
    Ok(if ambiguous && !file.is_executable() {
        seals & !SEAL_FUTURE_WRITE
    } else {
        seals
    })
}

/// Whether a file with these seals, as they were handed over, may be executed.
pub(crate) const fn is_executable(seals: u32) -> bool {
    seals & SEAL_EXEC == 0 || seals & SEALS_OF_EXECUTABLE == SEALS_OF_EXECUTABLE
}
