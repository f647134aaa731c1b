// SPDX-License-Identifier: Apache-2.0 OR MIT

//! luod and luoctl in real machines, across real kexecs: what an operator and the owners of services see.
//!
//! Machines are dear, so each scenario tries one thing after the other in its own.

mod barrier;
mod crowd;
mod host;
mod kept;
mod killed;
mod services;
mod systemd;
mod updates;

use anyhow::Result;

use self::host::Host;
use crate::scenario::{Action, Flavor, Image, Play, Scenario};

/// In the name of the scenario with updates in a row.
const UPDATES: &str = " updates on ";

/// What every kernel has to pass.
pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    vec![
        scenario("the barrier", flavor, barrier::run),
        scenario("a crowd, and hostile clients", flavor, crowd::run),
        Scenario {
            image: Image::Systemd,
            ..scenario("under systemd", flavor, systemd::run)
        },
    ]
}

/// What takes longer if so many updates are asked for: updates in a row, and an update for each step at which luod is killed.
pub(super) fn long(flavor: Flavor, count: Option<u32>) -> Vec<Scenario> {
    let updates = match count {
        None => killed::Updates::One,
        Some(_) => killed::Updates::Each,
    };
    let count = count.unwrap_or(updates::COUNT);
    vec![
        scenario("luod killed at each step", flavor, move |host, flavor| {
            killed::run(host, flavor, updates)
        }),
        scenario(&format!("{count} updates"), flavor, move |host, flavor| {
            updates::run(host, flavor, count)
        }),
    ]
}

/// Whether a scenario is the one with updates in a row.
pub(super) fn is_about_updates(scenario: &Scenario) -> bool {
    scenario.name.contains(UPDATES)
}

fn scenario(
    what: &str,
    flavor: Flavor,
    steps: impl Fn(&mut Host<'_, '_>, Flavor) -> Result<()> + Send + Sync + 'static,
) -> Scenario {
    let play = Play::new(&[flavor], move |stage| {
        let mut host = Host::new(stage);
        steps(&mut host, flavor).map_err(|error| host.explain(error))
    });
    Scenario {
        image: Image::Agent,
        ..Scenario::new(
            format!("agent/{what} on {}", flavor.name()),
            flavor,
            vec![Action::Play(play)],
        )
    }
}
