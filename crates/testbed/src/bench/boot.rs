// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How long the next kernel takes to boot with so much memory preserved: from `reboot(2)` until the agent runs.

use anyhow::{Context as _, Result};
use luo_guest::proto::{MemfdSpec, Op, Pages};
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

    pub(super) fn pages(self) -> Pages {
        match self {
            Self::Contiguous => Pages::Small,
            Self::Fragmented => Pages::Fragmented,
        }
    }
}

/// What each step takes that carries a memfd into the next kernel, in guest instructions.
pub(super) struct Carried {
    pub(super) create_session: u64,
    pub(super) preserve: u64,
    /// From `reboot(2)` until the next kernel's agent runs.
    pub(super) boot: u64,
    pub(super) open_device: u64,
    pub(super) retrieve_session: u64,
    pub(super) retrieve: u64,
}

/// Carries a memfd of so many MiB into the next kernel, and looks whether it is whole there.
pub(super) fn carry(
    lab: &Lab,
    flavor: Flavor,
    about: &str,
    mib: u32,
    pages: Pages,
) -> Result<Carried> {
    let stand = Stand::start(lab, flavor, about, memory::machine_mib(mib))?;
    carry_through(stand, mib, pages, |stand| {
        stand.machine.announced_kexec(STEP_TIMEOUT)
    })
}

/// The same; `leave` gives the time-stamp counter at the moment of `reboot(2)`.
pub(super) fn carry_through(
    mut stand: Stand,
    mib: u32,
    pages: Pages,
    leave: impl FnOnce(&mut Stand) -> Result<u64>,
) -> Result<Carried> {
    let spec = MemfdSpec {
        pages,
        ..memory::spec(Folio::Small, mib)
    };
    let (slot, create) = (memory::FILE.to_owned(), spec.clone());
    stand.call(Op::MemfdCreate { slot, spec: create })?;
    stand.open_device()?;
    let create_session = stand.create_session(memory::SESSION)?;
    let preserve = stand.call(memory::preserve())?.1;
    stand.load_next()?;
    let left = leave(&mut stand)?;
    stand.machine.wait_until_ready(STEP_TIMEOUT)?;
    let boot = stand.machine.hello().tsc.checked_sub(left);
    let carried = Carried {
        create_session,
        preserve,
        boot: boot.context("the time-stamp counter goes backwards")?,
        open_device: stand.open_device()?,
        retrieve_session: stand.retrieve_session(memory::SESSION)?,
        retrieve: stand.call(memory::retrieve())?.1,
    };
    let slot = memory::FILE.into();
    stand.call(Op::MemfdVerify { slot, spec })?;
    Ok(carried)
}

pub(super) fn measure(
    lab: &Lab,
    flavor: Flavor,
    layout: Layout,
    mib: u32,
    results: &mut Results,
) -> Result<()> {
    let about = format!("boot with {mib} MiB {}", layout.name());
    let carried = carry(lab, flavor, &about, mib, layout.pages())?;
    results.boots.push(BootFigure {
        layout,
        flavor,
        mib,
        preserve: carried.preserve,
        total: carried.boot,
        retrieve: carried.retrieve,
    });
    Ok(())
}
