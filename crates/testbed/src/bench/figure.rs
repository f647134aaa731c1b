// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What was measured.

use luo_guest::proto::Timing;
use serde::{Deserialize, Serialize};

use super::{freeze::Frozen, memory::Folio};
use crate::scenario::Flavor;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// `CREATE_SESSION`.
    CreateSession,
    /// `RETRIEVE_SESSION`, after the device is open.
    RetrieveSession,
    /// `FINISH` of a session.
    FinishSession,
    /// `PRESERVE_FD` of a one-page memfd.
    PreserveFile,
    /// `RETRIEVE_FD` of it.
    RetrieveFile,
    /// Opening the device for the first time, for each session it brings.
    OpenDevice,
    /// `PRESERVE_FD` of one large memfd, for each 4 KiB folio.
    PreserveSmallFolio,
    /// `RETRIEVE_FD` of it.
    RetrieveSmallFolio,
    /// `PRESERVE_FD` of one large memfd, for each 2 MiB folio.
    PreserveHugeFolio,
    /// `RETRIEVE_FD` of it.
    RetrieveHugeFolio,
}

/// The cost of so many things, in guest instructions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    pub work: Work,
    /// By which implementation.
    pub flavor: Flavor,
    /// To how many sessions, files or folios.
    pub count: u32,
    /// For all of them.
    pub total: u64,
    /// For one, on average.
    pub mean: u64,
    /// For one of the last calls, when all others are there.
    pub last: Option<u64>,
}

impl Figure {
    /// Of many calls.
    pub(super) fn of_calls(work: Work, flavor: Flavor, timing: Timing) -> Self {
        Self {
            last: Some(timing.tail_ns / u64::from(timing.tail_count.max(1))),
            ..Self::of_one_call(work, flavor, timing.count, timing.total_ns)
        }
    }

    /// Of one call that did many things.
    pub(super) fn of_one_call(work: Work, flavor: Flavor, count: u32, total: u64) -> Self {
        Self {
            work,
            flavor,
            count,
            total,
            mean: total / u64::from(count.max(1)),
            last: None,
        }
    }
}

/// What a preserved memfd takes beside its own memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFigure {
    /// By which implementation.
    pub flavor: Flavor,
    /// What the memfd consists of.
    pub folio: Folio,
    /// Its size.
    pub mib: u32,
    /// What is gone once `PRESERVE_FD` is done: all that is handed over with it, and what the kernel keeps beside it.
    pub kept_kib: u64,
    /// The most that was gone while it ran.
    pub peak_kib: u64,
    /// How often it was looked.
    pub samples: u32,
}

impl MemoryFigure {
    /// Bytes kept for each GiB preserved.
    pub fn kept_bytes_per_gib(&self) -> u64 {
        self.kept_kib * 1024 * 1024 / u64::from(self.mib.max(1))
    }

    /// The peak in percent of the memfd.
    pub fn peak_percent(&self) -> f64 {
        self.peak_kib as f64 / (f64::from(self.mib) * 1024.0) * 100.0
    }
}

/// What it costs to leave a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeFigure {
    /// What there was to freeze.
    pub what: Frozen,
    /// By which implementation.
    pub flavor: Flavor,
    /// How much of it.
    pub count: u32,
    /// Guest instructions from `reboot(2)` to the first one of the next kernel.
    pub total: u64,
}

/// All figures of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Instructions, in the order of measurement.
    pub figures: Vec<Figure>,
    /// Leaving a kernel.
    pub freezes: Vec<FreezeFigure>,
    /// Memory taken.
    pub memory: Vec<MemoryFigure>,
}
