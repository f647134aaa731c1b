// SPDX-License-Identifier: GPL-2.0-only

//! File-lifecycle-bound data (FLB): state that several files share. It is preserved with the first
//! file that needs it and finished with the last.
//!
//! An FLB has two separate lives here: what this kernel preserves, [`Outgoing`], and what the
//! previous one did, [`Incoming`]. Both count files and borrowed references apart: the files are
//! what the next kernel is told, the references only keep the object alive meanwhile.
//!
//! The callbacks run with the lock of that one life held, and no other.

use crate::abi::{FlbPage, FlbSer, COMPAT_LEN};
use kernel::{
    kho::{PhysAddr, Restored},
    liveupdate::{ActiveFlb, Flb, FlbObject},
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// What is preserved of an FLB.
struct Kept {
    flb: ActiveFlb,
    data: u64,
    obj: FlbObject,
}

/// Who needs an FLB, and what is kept for them.
struct Users {
    files: u64,
    refs: u64,
    /// Present exactly while `files + refs > 0`.
    kept: Option<Kept>,
}

impl Users {
    fn release_if_unused(&mut self) {
        if self.files + self.refs == 0 {
            if let Some(kept) = self.kept.take() {
                kept.flb.unpreserve(kept.data, kept.obj);
            }
        }
    }
}

/// An FLB in its outgoing life.
#[pin_data]
pub(crate) struct Outgoing {
    flb: Flb,
    #[pin]
    users: Mutex<Users>,
}

impl Outgoing {
    /// An FLB that no file uses.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(flb: Flb) -> Result<Arc<Self>> {
        let users = Users {
            files: 0,
            refs: 0,
            kept: None,
        };
        let init = pin_init!(Self {
            flb,
            users <- new_mutex!(users, "luo_flb_outgoing"),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// The registered structure.
    pub(crate) fn flb(&self) -> Flb {
        self.flb
    }

    /// Borrows the live object.
    ///
    /// # Errors
    ///
    /// `ENOENT` if nothing is preserved, or the FLB has no object.
    pub(crate) fn borrow(&self) -> Result<FlbObject> {
        let mut users = self.users.lock();
        let obj = users.kept.as_ref().map_or(FlbObject::NONE, |kept| kept.obj);
        if obj.is_none() {
            return Err(ENOENT);
        }
        users.refs += 1;
        Ok(obj)
    }

    /// Gives the object back.
    pub(crate) fn give_back(&self) {
        let mut users = self.users.lock();
        if users.refs == 0 {
            pr_warn!("an outgoing FLB object is given back more often than borrowed\n");
            return;
        }
        users.refs -= 1;
        users.release_if_unused();
    }

    /// What the next kernel is to be told; `None` if no file needs the FLB.
    pub(crate) fn serialized(&self) -> Option<FlbSer> {
        let users = self.users.lock();
        let kept = users.kept.as_ref()?;
        let ser = FlbSer {
            name: self.flb.compatible(),
            data: kept.data,
            count: users.files,
        };
        (users.files > 0).then_some(ser)
    }
}

/// One file's use of one FLB; dropping it ends the use.
pub(crate) struct FlbUse(Arc<Outgoing>);

impl FlbUse {
    /// Starts a use; the first preserves the FLB.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the FLB's module is being unloaded, or the FLB's own.
    pub(crate) fn start(flb: Arc<Outgoing>) -> Result<Self> {
        let mut users = flb.users.lock();
        if users.kept.is_none() {
            let active = flb.flb.get().ok_or(ENODEV)?;
            let (data, obj) = active.preserve()?;
            let flb = active;
            users.kept = Some(Kept { flb, data, obj });
        }
        users.files += 1;
        drop(users);
        Ok(Self(flb))
    }
}

impl Drop for FlbUse {
    fn drop(&mut self) {
        let mut users = self.0.users.lock();
        users.files -= 1;
        users.release_if_unused();
    }
}

/// All uses that one file makes of FLBs; dropping it ends them, the last first.
pub(crate) struct FlbHold(KVec<FlbUse>);

impl FlbHold {
    /// Starts the use of `flbs`, in order. If one fails, what was started ends.
    ///
    /// # Errors
    ///
    /// Those of the FLB that fails, or `ENOMEM`.
    pub(crate) fn start(flbs: KVec<Arc<Outgoing>>) -> Result<Self> {
        let mut hold = Self(KVec::with_capacity(flbs.len(), GFP_KERNEL)?);
        for flb in flbs {
            hold.0.push(FlbUse::start(flb)?, GFP_KERNEL)?;
        }
        Ok(hold)
    }
}

impl Drop for FlbHold {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

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
pub(crate) struct IncomingFlbs(Option<KVec<Arc<Incoming>>>);

impl IncomingFlbs {
    /// No previous kernel.
    pub(crate) const NONE: Self = Self(None);

    /// Reads and frees the page at `addr`, if there is one.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the page or anything in it cannot be right, `ENOMEM`.
    pub(crate) fn restore(addr: u64) -> Result<Self> {
        if addr == 0 {
            return Ok(Self::NONE);
        }
        let page: Restored<FlbPage> = Restored::claim(PhysAddr(addr))?;
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
        Ok(Self(Some(flbs)))
    }

    /// The incoming life of the FLB named `name`.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there was no live update, `ENOENT` if it brought no such FLB.
    pub(crate) fn find(&self, name: &[u8; COMPAT_LEN]) -> Result<&Arc<Incoming>> {
        let flbs = self.0.as_ref().ok_or_else(no_data)?;
        flbs.iter().find(|it| it.name == *name).ok_or(ENOENT)
    }
}

/// "No data available". The `kernel` crate has no name for it.
fn no_data() -> Error {
    Error::from_errno(-61)
}
