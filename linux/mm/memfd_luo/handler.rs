// SPDX-License-Identifier: GPL-2.0-only

//! What the Live Update Orchestrator calls.

use crate::{incoming::Incoming, outgoing::Outgoing};
use kernel::{
    fs::File,
    kho::PhysAddr,
    liveupdate::ops::{Attempt, Failure, FileOps},
    prelude::*,
    shmem::Shmem,
    sync::aref::ARef,
};

pub(crate) struct Memfd;

/// Whether another attempt may succeed.
fn is_transient(err: Error) -> bool {
    [ENOMEM, ENOSPC, ENFILE, EINTR].contains(&err)
}

fn failed(err: Error, memfd: Option<KBox<Incoming>>) -> Failure<Incoming> {
    if is_transient(err) {
        return Failure::Transient(err, memfd);
    }
    if let Some(memfd) = memfd {
        Incoming::leak(memfd, err);
    }
    Failure::Final(err)
}

impl Memfd {
    fn claim(data: u64, claimed: Option<KBox<Incoming>>) -> Attempt<KBox<Incoming>, Incoming> {
        match claimed {
            Some(memfd) => Ok(memfd),
            None => Incoming::claim_boxed(PhysAddr(data)).map_err(|err| failed(err, None)),
        }
    }
}

impl FileOps for Memfd {
    const COMPATIBLE: &'static CStr = c"memfd-v2";
    type Preserved = Outgoing;
    type Claimed = Incoming;

    fn can_preserve(file: &File) -> bool {
        Shmem::new(file).is_some()
    }

    fn id(file: &File) -> usize {
        Shmem::new(file).map_or(0, |file| file.id())
    }

    fn preserve(file: &File) -> Result<(u64, KBox<Outgoing>)> {
        let preserved = Outgoing::new(&Shmem::new(file).ok_or(EINVAL)?)?;
        Ok((preserved.phys().0, preserved))
    }

    fn unpreserve(file: &File, preserved: KBox<Outgoing>) {
        if let Some(file) = Shmem::new(file) {
            Outgoing::unpreserve(preserved, &file);
        }
    }

    fn freeze(file: &File, preserved: &mut Outgoing) -> Result {
        preserved.freeze(&Shmem::new(file).ok_or(EINVAL)?)
    }

    fn unfreeze(file: &File, preserved: &mut Outgoing) {
        if let Some(file) = Shmem::new(file) {
            preserved.unfreeze(&file);
        }
    }

    fn retrieve(data: u64, claimed: Option<KBox<Incoming>>) -> Attempt<ARef<File>, Incoming> {
        let mut memfd = Self::claim(data, claimed)?;
        match memfd.load().and_then(|()| memfd.fill()) {
            Ok(file) => Incoming::publish(KBox::into_inner(memfd), file).map_err(Failure::Final),
            Err(err) => Err(failed(err, Some(memfd))),
        }
    }

    fn carry(
        data: u64,
        claimed: Option<KBox<Incoming>>,
    ) -> Attempt<(u64, KBox<Incoming>), Incoming> {
        let mut memfd = Self::claim(data, claimed)?;
        match memfd.load().and_then(|()| memfd.carry()) {
            Ok(addr) => Ok((addr.0, memfd)),
            Err(err) => Err(failed(err, Some(memfd))),
        }
    }

    fn uncarry(claimed: &mut Incoming) {
        claimed.uncarry();
    }

    fn discard(data: u64, claimed: Option<KBox<Incoming>>) {
        let memfd = match claimed {
            Some(memfd) => Ok(KBox::into_inner(memfd)),
            None => Incoming::claim(PhysAddr(data)),
        };
        if let Err(err) = memfd.and_then(Incoming::discard) {
            pr_err!("what is left of a memfd is leaked ({:?})\n", err);
        }
    }
}
