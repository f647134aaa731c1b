// SPDX-License-Identifier: GPL-2.0-only

//! An FLB that records what it is asked.

use crate::busy::Busy;
use kernel::{
    liveupdate::{FlbObject, FlbOps, Module},
    prelude::*,
};
use std::sync::Mutex;

/// What [`Shared`] hands to the next kernel.
pub const DATA: u64 = 0xF1B;
/// The live object in the kernel that preserves.
pub const OUTGOING: FlbObject = FlbObject(0xA11);
/// The live object in the kernel that retrieves.
pub const INCOMING: FlbObject = FlbObject(0xA12);

/// The FLB.
pub struct Shared {
    compatible: &'static str,
    module: Module,
    calls: Mutex<Vec<&'static str>>,
    refusal: Mutex<Option<(&'static str, Error)>>,
    busy: Busy,
}

impl Shared {
    /// With this compatibility string.
    pub fn new(compatible: &'static str) -> &'static Self {
        Box::leak(Box::new(Self {
            compatible,
            module: Module::default(),
            calls: Mutex::default(),
            refusal: Mutex::default(),
            busy: Busy::default(),
        }))
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        core::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Refuses `call`, until further notice.
    pub fn refuse(&self, call: &'static str, with: Error) {
        *self.refusal.lock().unwrap() = Some((call, with));
    }

    fn called(&self, call: &'static str) -> Result {
        self.busy.sleep(DATA as usize);
        self.calls.lock().unwrap().push(call);
        match *self.refusal.lock().unwrap() {
            Some((refused, err)) if refused == call => Err(err),
            _ => Ok(()),
        }
    }
}

impl FlbOps for Shared {
    fn compatible(&self) -> &str {
        self.compatible
    }

    fn module(&self) -> &Module {
        &self.module
    }

    fn preserve(&self) -> Result<(u64, FlbObject)> {
        self.called("preserve")?;
        Ok((DATA, OUTGOING))
    }

    fn unpreserve(&self, data: u64, obj: FlbObject) {
        assert_eq!((data, obj), (DATA, OUTGOING));
        self.called("unpreserve").unwrap();
    }

    fn retrieve(&self, data: u64) -> Result<FlbObject> {
        assert_eq!(data, DATA);
        self.called("retrieve")?;
        Ok(INCOMING)
    }

    fn finish(&self, data: u64, obj: FlbObject) {
        assert_eq!((data, obj), (DATA, INCOMING));
        self.called("finish").unwrap();
    }
}
