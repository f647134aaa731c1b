// SPDX-License-Identifier: GPL-2.0-only

//! A memfd that the previous kernel preserved.

use crate::{
    abi::{FolioSer, MemfdSer, ALL_SEALS, FOLIOS_PER_PAGE, PAGE_SIZE},
    array::IncomingArray,
    folios::PreservedFolios,
    not_supported,
    outgoing::is_executable,
};
use kernel::{
    folio::{max_order, Folio, PlacedFolio},
    fs::File,
    kho::{extent::claim_folios, PhysAddr, Preserved, Restored},
    prelude::*,
    shmem::{yield_killable, Attributes, NewShmem},
    sync::aref::ARef,
};

/// How many folios are claimed or inserted at once.
const BATCH: usize = 64;
/// The largest size and position of a file.
const MAX_SIZE: u64 = i64::MAX as u64;

/// What has been claimed so far of a memfd. A failure for lack of memory changes nothing of it that
/// cannot be gone on from.
///
/// Dropping it frees everything that was claimed.
pub(crate) struct Incoming {
    ser: Restored<MemfdSer>,
    array: IncomingArray,
    /// The folios of the first entries.
    folios: KVVec<Folio>,
    pages: u64,
    /// What the next kernel gets if nobody retrieves it in this one.
    carried: Option<(Preserved<MemfdSer>, PreservedFolios)>,
}

impl Incoming {
    /// Claims the memfd at `addr`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn claim(addr: PhysAddr) -> Result<Self> {
        let ser: Restored<MemfdSer> = Restored::claim(addr)?;
        Ok(Self {
            array: IncomingArray::new(ser.folios),
            ser,
            folios: KVVec::new(),
            pages: 0,
            carried: None,
        })
    }

    /// As [`claim`](Self::claim), into memory that lasts.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing has changed. `EINVAL` if there is none.
    pub(crate) fn claim_boxed(addr: PhysAddr) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL)?;
        Ok(KBox::write(room, Self::claim(addr)?))
    }

    /// Checks what can be checked without looking at the folios.
    fn check(&self) -> Result {
        let ser = &*self.ser;
        if ser.seals & !ALL_SEALS != 0 || ser.flags != 0 {
            return Err(not_supported());
        }
        if ser.size > MAX_SIZE || ser.pos > MAX_SIZE {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Whether there is not even an array.
    fn has_nothing(&self) -> bool {
        self.ser.nr_folios == 0 && self.ser.folios.first_pa == 0
    }

    fn load_array(&mut self) -> Result {
        if self.has_nothing() {
            return Ok(());
        }
        self.array.load()?;
        if !self.array.ends_after(self.ser.nr_folios) {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Claims all folios, as far as that is not done.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINTR`: may be repeated. `EINVAL`, `EOPNOTSUPP`: it is broken.
    pub(crate) fn load(&mut self) -> Result {
        self.check()?;
        self.load_array()?;
        while (self.folios.len() as u64) < self.ser.nr_folios {
            yield_killable()?;
            self.folios.reserve(BATCH, GFP_KERNEL)?;
            let known = self.folios.len();
            let left = self.ser.nr_folios as usize - known;
            let entries = self.array.entries(known, left.min(BATCH));
            let mut batch = [const { None }; BATCH];
            let claimed = claim_batch(entries, self.ser.size, &mut batch);
            for (mut folio, entry) in batch.into_iter().flatten().zip(entries) {
                if !entry.is_uptodate() {
                    folio.zero();
                }
                self.pages += folio.nr_pages();
                self.folios.push_within_capacity(folio)?;
            }
            claimed?;
        }
        Ok(())
    }

    /// The folios, with their entries.
    fn entries(&self) -> impl Iterator<Item = (&Folio, &FolioSer)> {
        let known = self.folios.len();
        let pages = (0..known).step_by(FOLIOS_PER_PAGE);
        let entries = pages.flat_map(move |first| self.array.entries(first, known - first));
        self.folios.iter().zip(entries)
    }

    /// Makes the file.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`, `ENFILE`, `EINTR`: nothing has changed. `EINVAL`, `EEXIST`: two folios want
    /// the same place.
    pub(crate) fn fill(&self) -> Result<NewShmem> {
        let mut file = NewShmem::new(
            &Attributes {
                size: self.ser.size,
                pos: self.ser.pos,
                seals: self.ser.seals,
                is_executable: is_executable(self.ser.seals),
            },
            self.pages,
        )?;
        let mut entries = self.entries();
        for folios in self.folios.chunks(BATCH) {
            let mut indices = [0; BATCH];
            let indices = &mut indices[..folios.len()];
            for (index, (_, entry)) in indices.iter_mut().zip(&mut entries) {
                *index = entry.index;
            }
            if let Err(err) = yield_killable().and_then(|()| file.insert(folios, indices)) {
                file.abandon(&self.folios);
                return Err(err);
            }
        }
        Ok(file)
    }

    /// Ends it: the file has the folios now.
    pub(crate) fn publish(self, file: NewShmem) -> Result<ARef<File>> {
        file.publish(self.folios.into_iter())
    }

    /// Preserves all of it for the next kernel; what was written to the file is not touched.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINTR`: nothing has changed.
    pub(crate) fn carry(&mut self) -> Result<PhysAddr> {
        let mut ser: Preserved<MemfdSer> = Preserved::new()?;
        let mut folios = PreservedFolios::new();
        let mut collector = folios.collect();
        for (position, (folio, entry)) in self.entries().enumerate() {
            if position.is_multiple_of(BATCH) {
                yield_killable()?;
            }
            collector.add(PlacedFolio::new(folio.clone(), entry.index))?;
        }
        collector.finish()?;
        let (nr_folios, array) = folios.describe();
        *ser = MemfdSer {
            nr_folios,
            folios: array,
            ..*self.ser
        };
        let addr = ser.phys();
        self.carried = Some((ser, folios));
        Ok(addr)
    }

    /// Undoes [`carry`](Self::carry).
    pub(crate) fn uncarry(&mut self) {
        self.carried = None;
    }

    /// Frees all of it. Nothing keeps that from being done, not even a lack of memory: who has asked
    /// for it may be dying.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `EOPNOTSUPP`: it is broken, and what could not be claimed is leaked.
    pub(crate) fn discard(self) -> Result {
        self.check()?;
        if self.has_nothing() {
            return Ok(());
        }
        let (claimed, size, nr_folios) = (
            self.folios.len(),
            self.ser.size,
            self.ser.nr_folios as usize,
        );
        drop(self.folios);
        let mut nr = 0;
        self.array.drain(|page| {
            for entries in page.0.chunks(BATCH) {
                // It gives way, and that is all that counts here.
                let _ = yield_killable();
                let known = claimed.saturating_sub(nr).min(entries.len());
                let there = nr_folios.saturating_sub(nr).min(entries.len());
                nr += entries.len();
                let mut batch = [const { None }; BATCH];
                claim_batch(&entries[known.min(there)..there], size, &mut batch)?;
            }
            Ok(())
        })
    }

    /// Leaves alone what was claimed: others may say that they own this memory too.
    pub(crate) fn leak(this: KBox<Self>, err: Error) {
        pr_err!(
            "a memfd of {} bytes is leaked ({:?}), {} of its pages were read\n",
            this.ser.size,
            err,
            this.pages + this.array.pages() as u64 + 1
        );
        core::mem::forget(this);
    }
}

/// Claims the folios of these entries of a memfd of `size` bytes.
///
/// # Errors
///
/// `EINVAL` if one is broken, or its folio is not there; those before it may have been claimed.
fn claim_batch(entries: &[FolioSer], size: u64, folios: &mut [Option<Folio>; BATCH]) -> Result {
    let mut pfns = [0; BATCH];
    for (pfn, entry) in pfns.iter_mut().zip(entries) {
        let is_outside = entry.index >= size.div_ceil(PAGE_SIZE);
        if entry.pfn() == 0 || entry.has_unknown_flags() || is_outside {
            return Err(EINVAL);
        }
        *pfn = entry.pfn();
    }
    let nr = entries.len();
    claim_folios(&pfns[..nr], max_order(), &mut folios[..nr])
}
