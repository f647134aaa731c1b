// SPDX-License-Identifier: GPL-2.0-only

//! FLBs that this kernel preserves.

use crate::abi::FlbSer;
use kernel::{
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

    /// Whether something is kept for files or references.
    pub(crate) fn is_in_use(&self) -> bool {
        self.users.lock().kept.is_some()
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

/// An FLB with its module, which can go as soon as neither a lock nor a reference keeps it.
pub(crate) type HeldFlb = (Arc<Outgoing>, ActiveFlb);

/// One file's use of one FLB; dropping it ends the use.
pub(crate) struct FlbUse(Arc<Outgoing>);

impl FlbUse {
    /// Starts a use; the first preserves the FLB.
    ///
    /// # Errors
    ///
    /// The FLB's own.
    pub(crate) fn start((flb, held): HeldFlb) -> Result<Self> {
        let mut users = flb.users.lock();
        if users.kept.is_none() {
            let (data, obj) = held.preserve()?;
            let flb = held;
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
    pub(crate) fn start(flbs: KVec<HeldFlb>) -> Result<Self> {
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
