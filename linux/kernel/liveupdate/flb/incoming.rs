// SPDX-License-Identifier: GPL-2.0-only

//! FLBs that the previous kernel preserved.

use crate::{
    abi::{FlbPage, FlbSer, COMPAT_LEN},
    file::Text,
};
use kernel::{
    fmt,
    kho::{PhysAddr, Restored},
    liveupdate::{ActiveFlb, Flb, FlbObject},
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// How far an incoming FLB has come.
enum Stage {
    /// Nobody asked for the object yet.
    Waiting,
    Retrieved(ActiveFlb, FlbObject),
    /// The callback failed, for good. What it stands for stays preserved.
    Failed(Error),
    Finished,
}

/// What the previous kernel preserved of an FLB, and who still needs it.
struct Remains {
    files: u64,
    refs: u64,
    stage: Stage,
}

/// An FLB in its incoming life.
#[pin_data]
pub(crate) struct Incoming {
    name: [u8; COMPAT_LEN],
    data: u64,
    #[pin]
    remains: Mutex<Remains>,
}

impl Incoming {
    fn new(ser: &FlbSer) -> Result<Arc<Self>> {
        let remains = Remains {
            files: ser.count,
            refs: 0,
            stage: Stage::Waiting,
        };
        let init = pin_init!(Self {
            name: ser.name,
            data: ser.data,
            remains <- new_mutex!(remains, "luo_flb_incoming"),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// Borrows the live object; the first borrower has it retrieved.
    ///
    /// # Errors
    ///
    /// `ENODATA` once it is finished, `ENODEV` if the FLB's module is being unloaded, or the FLB's
    /// own error, for good.
    pub(crate) fn borrow(&self, flb: Flb) -> Result<FlbObject> {
        let mut remains = self.remains.lock();
        let obj = self.retrieve(&mut remains, || flb.get())?;
        remains.refs += 1;
        Ok(obj)
    }

    fn retrieve(
        &self,
        remains: &mut Remains,
        hold: impl FnOnce() -> Option<ActiveFlb>,
    ) -> Result<FlbObject> {
        match &remains.stage {
            Stage::Retrieved(_, obj) => return Ok(*obj),
            Stage::Failed(err) => return Err(*err),
            Stage::Finished => return Err(no_data()),
            Stage::Waiting => {}
        }
        let flb = hold().ok_or(ENODEV)?;
        match flb.retrieve(self.data) {
            Ok(obj) => {
                remains.stage = Stage::Retrieved(flb, obj);
                Ok(obj)
            }
            Err(err) => {
                remains.stage = Stage::Failed(err);
                Err(err)
            }
        }
    }

    /// Gives the object back.
    pub(crate) fn give_back(&self) {
        let mut remains = self.remains.lock();
        if remains.refs == 0 {
            pr_warn!("an incoming FLB object is given back more often than borrowed\n");
            return;
        }
        remains.refs -= 1;
        self.finish_if_unused(&mut remains);
    }

    /// Counts a file as finished. With the last the FLB is finished too, which needs its object,
    /// so that an FLB nobody asked for is retrieved now.
    pub(crate) fn file_finished(&self, flb: ActiveFlb) {
        let mut remains = self.remains.lock();
        if remains.files == 0 {
            pr_warn!("more files are finished than the previous kernel counted for an FLB\n");
            return;
        }
        remains.files -= 1;
        if remains.files == 0 && remains.refs == 0 {
            if let Err(err) = self.retrieve(&mut remains, || Some(flb)) {
                pr_warn!("an FLB cannot be finished and stays preserved: {:?}\n", err);
            }
        }
        self.finish_if_unused(&mut remains);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remains = self.remains.lock();
        f.write_fmt(fmt!("flb '{}': {} files", Text(&self.name), remains.files))?;
        match remains.stage {
            Stage::Waiting => f.write_str(", waiting\n"),
            Stage::Retrieved(..) => f.write_str(", retrieved\n"),
            Stage::Failed(err) => f.write_fmt(fmt!(", what it stands for leaked: {err:?}\n")),
            Stage::Finished => f.write_str(", finished\n"),
        }
    }

    fn finish_if_unused(&self, remains: &mut Remains) {
        if remains.files != 0 || remains.refs != 0 {
            return;
        }
        if let Stage::Retrieved(flb, obj) = &remains.stage {
            flb.finish(self.data, *obj);
            remains.stage = Stage::Finished;
        }
    }
}

/// All FLBs that the previous kernel preserved.
pub(crate) enum IncomingFlbs {
    /// There was no live update.
    None,
    Restored(KVec<Arc<Incoming>>),
    /// They are broken. What they stand for stays preserved until a reboot.
    Broken(Error),
}

impl IncomingFlbs {
    /// Reads and frees the page at `addr`, if there is one.
    pub(crate) fn restore(addr: u64) -> Self {
        if addr == 0 {
            return Self::None;
        }
        let read = Restored::claim(PhysAddr(addr)).and_then(|page| {
            let flbs = Self::read(&page);
            if flbs.is_err() {
                // Not freed: it may be somebody else's memory.
                core::mem::forget(page);
            }
            flbs
        });
        match read {
            Ok(flbs) => Self::Restored(flbs),
            Err(err) => {
                pr_err!(
                    "the FLBs of the previous kernel are broken ({:?}) and leaked\n",
                    err
                );
                Self::Broken(err)
            }
        }
    }

    fn read(page: &FlbPage) -> Result<KVec<Arc<Incoming>>> {
        let count = usize::try_from(page.count).map_err(|_| EINVAL)?;
        let entries = page.entries.get(..count).ok_or(EINVAL)?;
        if page.pgcnt != 1 {
            return Err(EINVAL);
        }
        let mut flbs: KVec<Arc<Incoming>> = KVec::with_capacity(count, GFP_KERNEL)?;
        for ser in entries {
            let terminated = ser.name.contains(&0) && ser.name[0] != 0;
            let repeated = flbs.iter().any(|it| it.name == ser.name);
            if !terminated || repeated || ser.count == 0 {
                return Err(EINVAL);
            }
            flbs.push(Incoming::new(ser)?, GFP_KERNEL)?;
        }
        Ok(flbs)
    }

    /// Whether files can be restored.
    ///
    /// # Errors
    ///
    /// `EIO` if the FLBs that they may depend on are broken.
    pub(crate) fn check(&self) -> Result {
        match self {
            Self::Broken(_) => Err(EIO),
            Self::None | Self::Restored(_) => Ok(()),
        }
    }

    /// Whether the FLB named `name` holds something that nobody has retrieved in this kernel, so that
    /// it cannot be preserved again.
    pub(crate) fn waits(&self, name: &[u8; COMPAT_LEN]) -> bool {
        self.find(name).is_ok_and(|flb| {
            let stage = &flb.remains.lock().stage;
            matches!(stage, Stage::Waiting | Stage::Failed(_))
        })
    }

    /// Lines for debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Broken(fault) => {
                f.write_fmt(fmt!("flbs: all, and their page, leaked: {fault:?}\n"))
            }
            Self::Restored(flbs) => flbs.iter().try_for_each(|it| it.show(f)),
        }
    }

    /// The incoming life of the FLB named `name`.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there was no live update, `ENOENT` if it brought no such FLB, `EIO` if what it
    /// brought is broken.
    pub(crate) fn find(&self, name: &[u8; COMPAT_LEN]) -> Result<&Incoming> {
        match self {
            Self::None => Err(no_data()),
            Self::Broken(_) => Err(EIO),
            Self::Restored(flbs) => {
                let found = flbs.iter().find(|it| it.name == *name);
                found.map(|it| &**it).ok_or(ENOENT)
            }
        }
    }
}

/// "No data available". The `kernel` crate has no name for it.
fn no_data() -> Error {
    Error::from_errno(-61)
}
