// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How long a workload is away, by phases: the demonstration by the host's clock, and the same work in guest instructions.
//!
//! Instructions cannot be counted in the demonstration itself: its client lives in the host's time. What is counted is what
//! carries one memfd of the same size over; there the service neither stops nor starts.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::Pages;
use serde::{Deserialize, Serialize};

use super::{BlackoutFigure, Results, agent, boot};
use crate::{
    demo::{self, DemoOptions},
    scenario::{Flavor, Lab},
};

/// The demonstration's usual number.
const KEYS: u32 = 200_000;

/// What phases are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds of the host's clock.
    Milliseconds,
    /// Milliseconds of a guest whose clock counts instructions, a million in each: luod's share alone.
    OwnMilliseconds,
    /// Guest instructions; waiting counts as long as it takes at a thousand million a second.
    Instructions,
}

/// One part of the blackout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// In a person's words.
    pub name: String,
    /// In the unit of all.
    pub value: f64,
}

pub(super) fn measure(lab: &Lab, flavor: Flavor, unit: Unit, results: &mut Results) -> Result<()> {
    let phases = match unit {
        Unit::Milliseconds => by_the_clock(lab, flavor)?,
        Unit::Instructions => counted(lab, flavor)?,
        Unit::OwnMilliseconds => return agent::measure(lab, flavor, results),
    };
    results.blackouts.push(BlackoutFigure {
        flavor,
        unit,
        phases,
    });
    Ok(())
}

fn by_the_clock(lab: &Lab, flavor: Flavor) -> Result<Vec<Phase>> {
    let kernel = lab.kernels.get(&flavor).context("no such kernel")?.clone();
    let result = demo::run(&DemoOptions {
        kernel,
        flavor,
        keys: KEYS,
        updates: 1,
        quiet: true,
        logs: Some(Path::new(&lab.logs).to_owned()),
    })?;
    ensure!(result.is_good(), "{result}");
    let phase = |it: &demo::Phase| Phase {
        name: it.name.to_owned(),
        value: it.ms,
    };
    let phases = result.updates.iter().flat_map(|it| &it.phases);
    Ok(phases.map(phase).collect())
}

fn counted(lab: &Lab, flavor: Flavor) -> Result<Vec<Phase>> {
    let mib = u32::try_from(demo::memory_mib(KEYS))?;
    let carried = boot::carry(lab, flavor, "blackout", mib, Pages::Small)?;
    let phases = [
        ("preserve", carried.create_session + carried.preserve),
        ("reboot to the next kernel's agent", carried.boot),
        ("device open", carried.open_device),
        ("retrieve", carried.retrieve_session + carried.retrieve),
    ];
    let phase = |(name, instructions): (&str, u64)| Phase {
        name: name.to_owned(),
        value: instructions as f64,
    };
    Ok(phases.map(phase).into())
}
