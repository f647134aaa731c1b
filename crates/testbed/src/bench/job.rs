// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The list of measurements.

use std::fmt;

use anyhow::Result;

use super::{
    BenchOptions, Results,
    blackout::{self, Unit},
    boot::{self, C_FRAGMENTED_LIMIT_MIB, Layout},
    calls,
    freeze::{self, Frozen},
    memory::{self, Folio},
    phases,
};
use crate::scenario::{Flavor, Lab};

/// Beyond this, C's quadratic cost takes longer than a person waits: 5,000 sessions are 5 seconds of guest CPU, 50,000 would be 500.
pub const C_SESSIONS_LIMIT: u32 = 5_000;

/// What can be asked for on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Large memfds: cost of a folio, memory taken.
    Memory,
    /// Many sessions.
    Sessions,
    /// Many files in a session.
    Files,
    /// Leaving a kernel with many sessions or files.
    Freeze,
    /// Booting with much memory preserved.
    Boot,
    /// Where the time of that goes.
    Phases,
    /// How long a workload is away, by phases.
    Blackout,
    /// luod's share of that, with many clients.
    Agent,
}

/// One measurement, in a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    Memory {
        flavor: Flavor,
        folio: Folio,
        mib: u32,
    },
    Sessions {
        flavor: Flavor,
        count: u32,
    },
    Files {
        flavor: Flavor,
        count: u32,
    },
    Freeze {
        flavor: Flavor,
        what: Frozen,
        count: u32,
    },
    Boot {
        flavor: Flavor,
        layout: Layout,
        mib: u32,
    },
    Phases {
        flavor: Flavor,
        layout: Layout,
        mib: u32,
    },
    Blackout {
        flavor: Flavor,
        unit: Unit,
    },
}

/// What the options ask for. The implementations take turns, so that what is compared is measured one after the other.
pub(super) fn plan(options: &BenchOptions, flavors: &[Flavor]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for part in &options.parts {
        match part {
            Part::Memory => {
                for &mib in &options.sizes_mib {
                    for folio in [Folio::Small, Folio::Apart, Folio::Huge] {
                        let bearable = flavors.iter().filter(|flavor| {
                            folio != Folio::Apart || bears_fragments(**flavor, mib)
                        });
                        jobs.extend(bearable.map(|&flavor| Job::Memory { flavor, folio, mib }));
                    }
                }
            }
            Part::Sessions => {
                for &count in &options.counts {
                    let bearable = flavors.iter().filter(|flavor| bears(**flavor, count));
                    jobs.extend(bearable.map(|&flavor| Job::Sessions { flavor, count }));
                }
            }
            Part::Files => {
                for &count in &options.counts {
                    jobs.extend(flavors.iter().map(|&flavor| Job::Files { flavor, count }));
                }
            }
            Part::Freeze => {
                let mut freeze = |what, count| {
                    let bearable = flavors
                        .iter()
                        .filter(|flavor| what != Frozen::Sessions || bears(**flavor, count));
                    jobs.extend(bearable.map(|&flavor| Job::Freeze {
                        flavor,
                        what,
                        count,
                    }));
                };
                freeze(Frozen::Nothing, 0);
                for &count in &options.counts {
                    freeze(Frozen::Sessions, count);
                }
                for &count in &options.counts {
                    freeze(Frozen::Files, count);
                }
            }
            Part::Boot => {
                let boots = boots(options, flavors);
                jobs.extend(boots.map(|(flavor, layout, mib)| Job::Boot {
                    flavor,
                    layout,
                    mib,
                }));
            }
            Part::Phases => {
                let boots = boots(options, flavors);
                jobs.extend(boots.map(|(flavor, layout, mib)| Job::Phases {
                    flavor,
                    layout,
                    mib,
                }));
            }
            Part::Blackout => {
                for unit in [Unit::Instructions, Unit::Milliseconds] {
                    jobs.extend(flavors.iter().map(|&flavor| Job::Blackout { flavor, unit }));
                }
            }
            Part::Agent => {
                let unit = Unit::OwnMilliseconds;
                jobs.extend(flavors.iter().map(|&flavor| Job::Blackout { flavor, unit }));
            }
        }
    }
    jobs
}

/// What memfds to boot with that can be waited for.
fn boots(
    options: &BenchOptions,
    flavors: &[Flavor],
) -> impl Iterator<Item = (Flavor, Layout, u32)> {
    let layouts = [Layout::Contiguous, Layout::Fragmented].into_iter();
    let all = layouts.flat_map(move |layout| {
        let sizes = options.sizes_mib.iter();
        sizes.flat_map(move |&mib| flavors.iter().map(move |&flavor| (flavor, layout, mib)))
    });
    all.filter(|&(flavor, layout, mib)| {
        layout != Layout::Fragmented || bears_fragments(flavor, mib)
    })
}

/// Whether the boot with a fragmented memfd can be waited for.
fn bears_fragments(flavor: Flavor, mib: u32) -> bool {
    flavor != Flavor::C || mib <= C_FRAGMENTED_LIMIT_MIB
}

/// Whether so many sessions can be waited for.
fn bears(flavor: Flavor, sessions: u32) -> bool {
    flavor != Flavor::C || sessions <= C_SESSIONS_LIMIT
}

impl Job {
    pub(super) fn run(self, lab: &Lab, results: &mut Results) -> Result<()> {
        match self {
            Self::Memory { flavor, folio, mib } => {
                memory::measure(lab, flavor, folio, mib, results)
            }
            Self::Sessions { flavor, count } => calls::sessions(lab, flavor, count, results),
            Self::Files { flavor, count } => calls::files(lab, flavor, count, results),
            Self::Freeze {
                flavor,
                what,
                count,
            } => freeze::measure(lab, flavor, what, count, results),
            Self::Boot {
                flavor,
                layout,
                mib,
            } => boot::measure(lab, flavor, layout, mib, results),
            Self::Phases {
                flavor,
                layout,
                mib,
            } => phases::measure(lab, flavor, layout, mib, results),
            Self::Blackout { flavor, unit } => blackout::measure(lab, flavor, unit, results),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { flavor, folio, mib } => {
                write!(
                    f,
                    "{mib} MiB in folios of {}, {}",
                    folio.size(),
                    flavor.name()
                )
            }
            Self::Sessions { flavor, count } => write!(f, "{count} sessions, {}", flavor.name()),
            Self::Files { flavor, count } => write!(f, "{count} files, {}", flavor.name()),
            Self::Freeze {
                flavor,
                what,
                count,
            } => {
                write!(f, "leaving with {}, {}", what.of(*count), flavor.name())
            }
            Self::Boot {
                flavor,
                layout,
                mib,
            } => {
                let (layout, flavor) = (layout.name(), flavor.name());
                write!(f, "booting with {mib} MiB {layout}, {flavor}")
            }
            Self::Phases {
                flavor,
                layout,
                mib,
            } => {
                let (layout, flavor) = (layout.name(), flavor.name());
                write!(f, "phases of a boot with {mib} MiB {layout}, {flavor}")
            }
            Self::Blackout { flavor, unit } => {
                let how = match unit {
                    Unit::Instructions => "a blackout, counted",
                    Unit::Milliseconds => "the demonstration's blackout",
                    Unit::OwnMilliseconds => "luod's share of a blackout",
                };
                write!(f, "{how}, {}", flavor.name())
            }
        }
    }
}
