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
mod updates;

use anyhow::Result;

use self::host::Host;
use crate::scenario::{Action, Flavor, Image, Play, Scenario};

/// What every kernel has to pass.
pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    vec![
        scenario("the barrier", flavor, barrier::run),
        scenario("luod killed at each step", flavor, killed::run),
        scenario("a crowd, and hostile clients", flavor, crowd::run),
    ]
}

/// Updates in a row, with all data checked after each.
pub(super) fn updates(flavor: Flavor, count: Option<u32>) -> Scenario {
    let count = count.unwrap_or(updates::COUNT);
    scenario(&format!("{count} updates"), flavor, move |host, flavor| {
        updates::run(host, flavor, count)
    })
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
