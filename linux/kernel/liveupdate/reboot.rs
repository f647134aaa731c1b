// SPDX-License-Identifier: GPL-2.0-only

//! From one kernel to the next: the root that is found at boot, the root that is left behind.

use crate::{
    abi::{FlbPage, RootSer, COMPATIBLE},
    file::Text,
    Luo,
};
use kernel::{
    fmt,
    kho::{self, Preserved, Restored},
    prelude::*,
};

/// The name of the root in the handover tree.
const SUBTREE: &CStr = c"LUO";

/// The root that the previous kernel left, if there was one.
///
/// The page is kept: KHO shows a copy of it in debugfs, which it makes later in the boot.
pub(crate) struct Remains(Option<Restored<RootSer>>);

impl Remains {
    /// The number of the live update that started this kernel; 0 if none did.
    pub(crate) fn liveupdate_num(&self) -> u64 {
        self.0.as_ref().map_or(0, |root| root.liveupdate_num)
    }

    /// The first block of sessions; 0 if there are none.
    pub(crate) fn sessions_pa(&self) -> u64 {
        self.0.as_ref().map_or(0, |root| root.sessions_pa)
    }

    /// The page of FLBs; 0 if there is none.
    pub(crate) fn flbs_pa(&self) -> u64 {
        self.0.as_ref().map_or(0, |root| root.flbs_pa)
    }

    /// Looks for the root of the previous kernel.
    ///
    /// # Errors
    ///
    /// Any error means that there is a root and it cannot be used. Devices may still be writing to
    /// memory that only it describes, so that the boot must not go on.
    pub(crate) fn restore() -> Result<Self> {
        let (addr, size) = match kho::retrieve_subtree(SUBTREE) {
            Ok(found) => found,
            Err(err) if err == ENOENT => return Ok(Self(None)),
            Err(err) => return Err(err),
        };
        if size < size_of::<RootSer>() {
            pr_err!("the root of the previous kernel has {} bytes\n", size);
            return Err(EINVAL);
        }
        let root: Restored<RootSer> = Restored::claim(addr)?;
        if root.compatible != COMPATIBLE {
            let (theirs, ours) = (Text(&root.compatible), Text(&COMPATIBLE));
            pr_err!(
                "the previous kernel wrote '{}', this one reads '{}'\n",
                theirs,
                ours
            );
            return Err(EINVAL);
        }
        pr_info!("live update number {}\n", root.liveupdate_num);
        Ok(Self(Some(root)))
    }
}

/// What this kernel leaves.
pub(crate) struct Root {
    root: Preserved<RootSer>,
    flbs: Preserved<FlbPage>,
}

impl Root {
    fn new(liveupdate_num: u64) -> Result<Self> {
        let mut flbs: Preserved<FlbPage> = Preserved::new()?;
        flbs.pgcnt = 1;
        let mut root: Preserved<RootSer> = Preserved::new()?;
        *root = RootSer {
            compatible: COMPATIBLE,
            liveupdate_num,
            sessions_pa: 0,
            flbs_pa: flbs.phys().0,
        };
        Ok(Self { root, flbs })
    }
}

impl Luo {
    /// Publishes a root without sessions, which [`hand_over`](Self::hand_over) fills in.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what KHO gives.
    pub(crate) fn publish_root(&self) -> Result {
        let root = Root::new(self.remains.liveupdate_num().wrapping_add(1))?;
        kho::add_subtree(SUBTREE, &root.root)?;
        *self.root.lock() = Some(root);
        Ok(())
    }

    /// Freezes all sessions for the next kernel. After that there is no way back.
    ///
    /// Context: the last step of `kernel_kexec()` that may fail; it holds the kexec lock.
    ///
    /// # Errors
    ///
    /// Everything is as it was, and the kexec must not go on:
    /// `EBUSY` an incoming session cannot be passed on, its files would be lost; `ENOEXEC` there are
    /// sessions and the image cannot take them; `ENOMEM`; that of a file that refuses.
    pub(crate) fn hand_over(&self) -> Result {
        let gate = self.gate.close()?;
        let mut incoming = self.incoming.lock();
        let mut outgoing = self.outgoing.lock();
        let has_sessions = incoming.unfinished()? != 0 || !outgoing.is_empty();
        if has_sessions && !kho::image_carries_kho() {
            pr_err!("kexec refused: the image was not loaded by kexec_file_load, and would lose all sessions\n");
            return Err(ENOEXEC);
        }
        let carried = incoming.carry(self, &outgoing)?;
        let sessions_pa = outgoing
            .freeze(&carried)
            .inspect_err(|_| incoming.uncarry())?;
        let mut root = self.root.lock();
        if let Some(Root { root, flbs }) = &mut *root {
            self.serialize_flbs(flbs);
            root.sessions_pa = sessions_pa;
        }
        gate.hand_over();
        Ok(())
    }

    /// Says in debugfs what the previous kernel left, what has become of it, and what of it is leaked
    /// for which reason.
    pub(crate) fn show_incoming(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("live update: {}\n", self.remains.liveupdate_num()))?;
        self.incoming_flbs.show(f)?;
        self.incoming.lock().show(f)
    }

    fn serialize_flbs(&self, page: &mut FlbPage) {
        let mut last = 0;
        let linked = core::iter::from_fn(|| {
            let (number, flb) = self.registry.flb_after(last)?;
            last = number;
            Some(flb)
        });
        let in_use = linked.filter_map(|flb| flb.serialized());
        let mut count = 0;
        for (slot, ser) in page.entries.iter_mut().zip(in_use) {
            *slot = ser;
            count += 1;
        }
        page.count = count;
    }
}
