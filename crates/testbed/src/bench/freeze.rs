// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What it costs to leave a kernel: from the system call to the first instruction of the next kernel.
//!
//! The next kernel is [one](super::landing) that does nothing but say when it was reached. The agent announces the moment of its
//! system call, so that nothing but the way between the two is counted. Part of it is there without live update: devices
//! are shut down, and the next kernel's image is checked; that is what it costs with [nothing](Frozen::Nothing) preserved.

use anyhow::{Context as _, Result};
use luo_guest::proto::{LoadMethod, Op};
use serde::{Deserialize, Serialize};

use super::{
    FreezeFigure, Results, calls, landing,
    stand::{STEP_TIMEOUT, Stand},
};
use crate::scenario::{Flavor, Lab};

const LANDING: &str = "landing";

/// What there is to freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frozen {
    /// No session.
    Nothing,
    /// Sessions without files.
    Sessions,
    /// Memfds of one page in one session.
    Files,
}

impl Frozen {
    /// So much of it, in words.
    pub(super) fn of(self, count: u32) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Sessions => format!("{count} sessions"),
            Self::Files => format!("{count} files"),
        }
    }
}

pub(super) fn measure(
    lab: &Lab,
    flavor: Flavor,
    what: Frozen,
    count: u32,
    results: &mut Results,
) -> Result<()> {
    let about = format!("leaving with {}", what.of(count));
    let images = [(LANDING, landing::image())];
    let mut stand = Stand::start_with(lab, flavor, &about, calls::MEMORY_MIB, &images)?;
    match what {
        Frozen::Nothing => stand.open_device().map(drop)?,
        Frozen::Sessions => calls::create_sessions(&mut stand, count).map(drop)?,
        Frozen::Files => calls::preserve_files(&mut stand, count).map(drop)?,
    }
    stand.call(Op::KexecLoad {
        kernel: LANDING.into(),
        // It has no use for a ramdisk; a large one would only be checked on the way.
        initrd: LANDING.into(),
        cmdline: String::new(),
        method: LoadMethod::File,
    })?;
    let left = stand.machine.announced_kexec(STEP_TIMEOUT)?;
    let line = |text: &str| landing::parse(text);
    let landed = stand.machine.wait_for_line(line, STEP_TIMEOUT)?;
    let total = landed
        .checked_sub(left)
        .context("the time-stamp counter goes backwards")?;
    results.freezes.push(FreezeFigure {
        what,
        flavor,
        count,
        total,
    });
    Ok(())
}
