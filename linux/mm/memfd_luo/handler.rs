// SPDX-License-Identifier: GPL-2.0-only

//! What the Live Update Orchestrator calls.

use crate::{incoming::Incoming, outgoing::Outgoing};
use kernel::{
    ffi::c_int,
    fs::File,
    initcall,
    kho::PhysAddr,
    liveupdate::{Failure, FileOps, Handler},
    prelude::*,
    shmem::Shmem,
    sync::aref::ARef,
};

struct Memfd;

static HANDLER: Handler<Memfd> = Handler::new();

initcall!("7", memfd_luo_init);

#[no_mangle]
extern "C" fn memfd_luo_init() -> c_int {
    match HANDLER.register() {
        Err(err) if err != crate::not_supported() => {
            pr_err!("memfds cannot be preserved: {:?}\n", err);
            err.to_errno()
        }
        _ => 0,
    }
}

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
    fn claim(
        data: u64,
        claimed: Option<KBox<Incoming>>,
    ) -> Result<KBox<Incoming>, Failure<Incoming>> {
        match claimed {
            Some(memfd) => Ok(memfd),
            None => Incoming::claim(PhysAddr(data)).map_err(|err| failed(err, None)),
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

    fn retrieve(
        data: u64,
        claimed: Option<KBox<Incoming>>,
    ) -> Result<ARef<File>, Failure<Incoming>> {
        let mut memfd = Self::claim(data, claimed)?;
        match memfd.load().and_then(|()| memfd.fill()) {
            Ok(file) => Incoming::publish(KBox::into_inner(memfd), file).map_err(Failure::Final),
            Err(err) => Err(failed(err, Some(memfd))),
        }
    }

    fn carry(
        data: u64,
        claimed: Option<KBox<Incoming>>,
    ) -> Result<(u64, KBox<Incoming>), Failure<Incoming>> {
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
            Some(memfd) => Ok(memfd),
            None => Incoming::claim(PhysAddr(data)),
        };
        match memfd {
            Ok(memfd) => Incoming::discard(memfd),
            Err(err) => pr_err!("a memfd is leaked ({:?})\n", err),
        }
    }
}
