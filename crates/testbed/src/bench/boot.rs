// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How long the next kernel takes to boot with so much memory preserved: from `reboot(2)` until the agent runs.

use anyhow::{Context as _, Result};
use luo_guest::proto::{Op, Pages};
use serde::{Deserialize, Serialize};

use super::{
    BootFigure, Results,
    memory::{self, Folio},
    stand::{STEP_TIMEOUT, Stand},
};
use crate::scenario::{Flavor, Lab};

/// Beyond this, C's quadratic cost takes longer than a person waits: 64 MiB are 7 seconds of guest time, 256 MiB 97.
pub const C_FRAGMENTED_LIMIT_MIB: u32 = 64;

/// How a memfd lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// As the kernel hands out pages of 4 KiB on a quiet machine: most beside each other.
    Contiguous,
    /// Pages of 4 KiB, none beside another.
    Fragmented,
}

impl Layout {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Contiguous => "contiguous",
            Self::Fragmented => "fragmented",
        }
    }
}

pub(super) fn measure(
    lab: &Lab,
    flavor: Flavor,
    layout: Layout,
    mib: u32,
    results: &mut Results,
) -> Result<()> {
    let about = format!("boot with {mib} MiB {}", layout.name());
    let mut stand = Stand::start(lab, flavor, &about, memory::machine_mib(mib))?;
    let mut spec = memory::spec(Folio::Small, mib);
    if layout == Layout::Fragmented {
        spec.pages = Pages::Fragmented;
    }
    let (slot, create) = (memory::FILE.to_owned(), spec.clone());
    stand.call(Op::MemfdCreate { slot, spec: create })?;
    stand.open_device()?;
    stand.create_session(memory::SESSION)?;
    let preserve = stand.call(memory::preserve())?.1;
    stand.load_next()?;
    let left = stand.machine.announced_kexec(STEP_TIMEOUT)?;
    stand.machine.wait_until_ready(STEP_TIMEOUT)?;
    let total = stand.machine.hello().tsc.checked_sub(left);
    let total = total.context("the time-stamp counter goes backwards")?;
    stand.open_device()?;
    stand.retrieve_session(memory::SESSION)?;
    let retrieve = stand.call(memory::retrieve())?.1;
    let slot = memory::FILE.into();
    stand.call(Op::MemfdVerify { slot, spec })?;
    results.boots.push(BootFigure {
        layout,
        flavor,
        mib,
        preserve,
        total,
        retrieve,
    });
    Ok(())
}
