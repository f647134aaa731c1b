// SPDX-License-Identifier: GPL-2.0-only

//! Calls that may sleep.

use kernel::host;
use std::{collections::BTreeSet, sync::Mutex};

/// What the calls that sleep just now are about.
#[derive(Default)]
pub(crate) struct Busy(Mutex<BTreeSet<usize>>);

impl Busy {
    /// Sleeps, in a call about `what`. Until it is over no other call may be about that: LUO keeps
    /// handlers and FLBs from having to lock.
    pub(crate) fn sleep(&self, what: usize) {
        let alone = self.0.lock().unwrap().insert(what);
        assert!(alone, "two calls about {what:#x} at the same time");
        host::point();
        self.0.lock().unwrap().remove(&what);
    }
}
