// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Machines that are stopped, looked at and written to from outside.

use std::path::PathBuf;

use anyhow::Result;

use super::{Machine, Prepared, gdb::Gdb, qmp::Qmp};

/// A clock that counts instructions goes on to the next timer when the processor stops, be it for a debugger: 4 ms, or
/// 55 ms while a kernel has no timer of its own yet. A timer of QEMU's own, which the guest does not see, keeps that short.
pub const STOP_NS: u64 = 100_000;

/// The sockets of QEMU's own interface and of the debugger's.
const CONTROL: &str = "qmp";
const DEBUGGER: &str = "gdb";

impl Machine {
    /// Connects to QEMU's interfaces in a machine that was configured to be debugged, which stops the machine.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn debugger(&self) -> Result<(Gdb, Qmp)> {
        let qmp = Qmp::connect(&self.files.path().join(CONTROL))?;
        Ok((Gdb::connect(&self.files.path().join(DEBUGGER))?, qmp))
    }
}

impl Prepared {
    /// Adds the sockets through which a machine is stopped and written to, and gives their paths.
    pub(super) fn control(&mut self) -> (PathBuf, PathBuf) {
        let [qmp, gdb] = [CONTROL, DEBUGGER].map(|name| self.files.path().join(name));
        self.command
            .args(Qmp::arguments(&qmp))
            .args(Gdb::arguments(&gdb));
        (qmp, gdb)
    }

    /// If so, for a machine that counts instructions and is stopped now and then.
    pub(super) fn debugged(mut self, is: bool) -> Self {
        if is {
            self.control();
            let interval = STOP_NS / 1000;
            let timer = format!("filter-buffer,id=timer,netdev=net,interval={interval}");
            self.command.args(["-object", &timer]);
        }
        self
    }
}
