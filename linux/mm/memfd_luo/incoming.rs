// SPDX-License-Identifier: GPL-2.0-only

//! A memfd that the previous kernel preserved.

use crate::{
    abi::{FolioSer, MemfdSer, ALL_SEALS, PAGE_SIZE},
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

/// How many folios are claimed or inserted at once; a word has a bit for each.
const BATCH: usize = u64::BITS as usize;
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
    /// How many entries have been looked at: some stand for no folio.
    claimed: usize,
    pages: u64,
    /// What the next kernel gets if nobody retrieves it in this one.
    carried: Option<(Preserved<MemfdSer>, PreservedFolios)>,
}

impl Incoming {
    /// Claims the memfd at `addr`.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `EOPNOTSUPP` if it is broken or of a kind that is not known.
    pub(crate) fn claim(addr: PhysAddr) -> Result<KBox<Self>> {
        let room = KBox::new_uninit(GFP_KERNEL)?;
        let ser: Restored<MemfdSer> = Restored::claim(addr)?;
        let array = IncomingArray::new(ser.folios);
        let this = Self {
            ser,
            array,
            folios: KVVec::new(),
            claimed: 0,
            pages: 0,
            carried: None,
        };
        Ok(KBox::write(room, this))
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

    fn load_array(&mut self) -> Result {
        if self.ser.nr_folios == 0 {
            return Ok(());
        }
        self.array.load()?;
        if self.ser.nr_folios > self.array.capacity() {
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
        while (self.claimed as u64) < self.ser.nr_folios {
            yield_killable()?;
            self.claim_batch()?;
        }
        Ok(())
    }

    /// Claims the folios of the next entries.
    fn claim_batch(&mut self) -> Result {
        let nr_pages = self.ser.size.div_ceil(PAGE_SIZE);
        let end = (self.claimed + BATCH).min(self.ser.nr_folios as usize);
        let (mut pfns, mut nr, mut not_uptodate) = ([0; BATCH], 0, 0_u64);
        for at in self.claimed..end {
            let entry = self.array.get(at).ok_or(EINVAL)?;
            if !entry.is_folio() {
                continue;
            }
            if entry.has_unknown_flags() || entry.index >= nr_pages {
                return Err(EINVAL);
            }
            pfns[nr] = entry.pfn();
            not_uptodate |= u64::from(!entry.is_uptodate()) << nr;
            nr += 1;
        }
        let first = self.folios.len();
        claim_folios(&pfns[..nr], max_order(), &mut self.folios)?;
        for (nr, folio) in self.folios[first..].iter_mut().enumerate() {
            if not_uptodate >> nr & 1 != 0 {
                folio.zero();
            }
            self.pages += folio.nr_pages();
        }
        self.claimed = end;
        Ok(())
    }

    /// The folios, with their entries.
    fn entries(&self) -> impl Iterator<Item = (&Folio, FolioSer)> {
        let entries = (0..self.claimed).filter_map(|at| self.array.get(at));
        self.folios.iter().zip(entries.filter(FolioSer::is_folio))
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

    /// Frees all of it. Nothing keeps that from being done: who has asked for it may be dying.
    pub(crate) fn discard(mut this: KBox<Self>) {
        let freed = this.check().and_then(|()| this.load_array());
        let freed = freed.and_then(|()| {
            while (this.claimed as u64) < this.ser.nr_folios {
                // It gives way, and that is all that counts here.
                let _ = yield_killable();
                this.claim_batch()?;
                this.folios.clear();
            }
            Ok(())
        });
        if let Err(err) = freed {
            Self::leak(this, err);
        }
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
