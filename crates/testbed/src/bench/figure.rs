// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What was measured.

use luo_guest::proto::Timing;
use serde::{Deserialize, Serialize};

use super::{
    blackout::{Phase, Unit},
    boot::Layout,
    freeze::Frozen,
    memory::Folio,
};
use crate::scenario::Flavor;

/// What is counted, in the order of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// `PRESERVE_FD` of one large memfd, for each 4 KiB folio.
    PreserveSmallFolio,
    /// `RETRIEVE_FD` of it.
    RetrieveSmallFolio,
    /// `PRESERVE_FD` of one large memfd, for each 4 KiB folio, none of which is beside another.
    PreserveApartFolio,
    /// `RETRIEVE_FD` of it.
    RetrieveApartFolio,
    /// `PRESERVE_FD` of one large memfd, for each 2 MiB folio.
    PreserveHugeFolio,
    /// `RETRIEVE_FD` of it.
    RetrieveHugeFolio,
    /// `CREATE_SESSION`.
    CreateSession,
    /// Opening the device for the first time, for each session it brings.
    OpenDevice,
    /// `RETRIEVE_SESSION`, after the device is open.
    RetrieveSession,
    /// `FINISH` of a session.
    FinishSession,
    /// `PRESERVE_FD` of a one-page memfd.
    PreserveFile,
    /// `RETRIEVE_FD` of it.
    RetrieveFile,
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

impl Work {
    /// What its size is counted in, and how much of it one thing is.
    pub(super) const fn size_unit(self) -> (&'static str, f64) {
        match self {
            Self::CreateSession
            | Self::RetrieveSession
            | Self::FinishSession
            | Self::OpenDevice => ("sessions", 1.0),
            Self::PreserveFile | Self::RetrieveFile => ("files", 1.0),
            Self::PreserveSmallFolio
            | Self::RetrieveSmallFolio
            | Self::PreserveApartFolio
            | Self::RetrieveApartFolio => ("MiB", 1.0 / 256.0),
            Self::PreserveHugeFolio | Self::RetrieveHugeFolio => ("MiB", 2.0),
        }
    }
}

impl Figure {
    /// In the unit of its work.
    pub(super) fn size(&self) -> f64 {
        f64::from(self.count) * self.work.size_unit().1
    }

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

/// What it costs to boot with preserved memory, in guest instructions; waiting counts as long as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFigure {
    /// How the memfd lies in memory.
    pub layout: Layout,
    /// By which implementation.
    pub flavor: Flavor,
    /// Its size.
    pub mib: u32,
    /// `PRESERVE_FD` of it, before.
    pub preserve: u64,
    /// From `reboot(2)` until the next kernel's agent runs.
    pub total: u64,
    /// `RETRIEVE_FD` of it, afterwards.
    pub retrieve: u64,
}

/// Where the time between `reboot(2)` and the claim goes, in guest instructions; waiting counts as long as it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhasesFigure {
    /// How the memfd lies in memory.
    pub layout: Layout,
    /// By which implementation.
    pub flavor: Flavor,
    /// Its size.
    pub mib: u32,
    /// One after the other; nothing is left out between them.
    pub phases: Vec<Phase>,
    /// The initcalls that take most, the slowest first. They are in a phase already.
    pub initcalls: Vec<Phase>,
}

impl PhasesFigure {
    /// All phases.
    pub fn total(&self) -> f64 {
        self.phases.iter().map(|phase| phase.value).sum()
    }
}

/// What a blackout consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlackoutFigure {
    /// By which implementation.
    pub flavor: Flavor,
    /// Of all phases.
    pub unit: Unit,
    /// One after the other.
    pub phases: Vec<Phase>,
}

impl BlackoutFigure {
    /// All phases.
    pub fn total(&self) -> f64 {
        self.phases.iter().map(|phase| phase.value).sum()
    }
}

/// All figures of a run, or of several that measured different parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// Instructions, in the order of measurement.
    pub figures: Vec<Figure>,
    /// Leaving a kernel.
    pub freezes: Vec<FreezeFigure>,
    /// Booting with preserved memory.
    pub boots: Vec<BootFigure>,
    /// Booting, by phases.
    pub phases: Vec<PhasesFigure>,
    /// Memory taken.
    pub memory: Vec<MemoryFigure>,
    /// How long a workload is away.
    pub blackouts: Vec<BlackoutFigure>,
}

impl Results {
    /// Adds the figures of another run.
    pub fn extend(&mut self, other: Self) {
        self.figures.extend(other.figures);
        self.freezes.extend(other.freezes);
        self.boots.extend(other.boots);
        self.phases.extend(other.phases);
        self.memory.extend(other.memory);
        self.blackouts.extend(other.blackouts);
    }
}
