// SPDX-License-Identifier: Apache-2.0 OR MIT

//! luod killed at each of its steps, and started again as an init system would: nothing is lost.
//!
//! In the old kernel the update does not take place, and everything is as it was; in the next one everybody gets what is theirs,
//! from the luod that comes after. Each time another update has to be possible.

use anyhow::{Context as _, Result, ensure};

use super::{
    host::{Host, Update},
    kept::Kept,
    services::{Service, THREE, are_whole, come_back, is_subscribed, join},
};
use crate::scenario::Flavor;

/// What is carried through all of it.
struct World {
    generation: u32,
    kept: Vec<Kept>,
    services: Vec<Service>,
}

/// How many updates the steps after the reboot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates {
    /// One for all: luod is killed at each, one after the other.
    One,
    /// One for each: luod is killed once.
    Each,
}

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor, updates: Updates) -> Result<()> {
    let steps = host.succeed(&["luod", "--list-kill-points"])?;
    let steps: Vec<_> = steps.lines().collect();
    host.start_luod()?;
    let kept = vec![Kept::add(host, "cache")?, Kept::add(host, "alice-cache")?];
    for it in &kept {
        it.write(host, 0)?;
    }
    let mut world = World {
        generation: 0,
        kept,
        services: join(host, &THREE, 0)?,
    };
    host.load(flavor)?;
    let (mut before, mut rest) = (0, &steps[..]);
    while let Some((step, later)) = rest.split_first() {
        let killed = || format!("luod killed at {step}");
        if world.stay(host, step).with_context(killed)? {
            (before, rest) = (before + 1, later);
            continue;
        }
        let here = match updates {
            Updates::One => rest.len(),
            Updates::Each => 1,
        };
        world
            .come_back(host, flavor, &rest[..here])
            .with_context(killed)?;
        rest = &rest[here..];
    }
    ensure!(
        before > 5 && before + 5 < steps.len(),
        "{before} of {} steps come before the reboot",
        steps.len()
    );
    Ok(())
}

impl World {
    /// An update in which luod is killed at a step, if it comes before the reboot. Gives whether it does; otherwise the machine is
    /// in the next kernel.
    fn stay(&self, host: &mut Host<'_, '_>, step: &str) -> Result<bool> {
        host.kill_luod()?;
        if !host.start_luod_with(&[&kill_at(step)])? {
            // Starting is a step in every kernel.
            host.start_luod()?;
        }
        self.await_services(host)?;
        let Update::Stayed(said) = host.update(&[])? else {
            return Ok(false);
        };
        ensure!(said.code != 0, "luoctl takes it for a success: {said:?}");
        host.await_luods_death()
            .with_context(|| format!("luoctl update: {said:?}"))?;
        host.start_luod()?;
        self.is_as_it_was(host)?;
        Ok(true)
    }

    /// The next kernel, in which luod is killed at each of these steps. The services are there as soon as luod is.
    fn come_back(&mut self, host: &mut Host<'_, '_>, flavor: Flavor, steps: &[&str]) -> Result<()> {
        self.generation += 1;
        self.services.clear();
        for step in steps {
            let answers = host.start_luod_with(&[&kill_at(step)])?;
            if answers && self.services.is_empty() {
                self.services = come_back(host, &THREE, self.generation)?;
            }
            if answers {
                host.await_luods_death()
                    .with_context(|| format!("to be killed at {step}"))?;
            }
        }
        host.start_luod()?;
        if self.services.is_empty() {
            self.services = come_back(host, &THREE, self.generation)?;
        }
        are_whole(host, &self.services)?;
        for kept in &self.kept {
            kept.check(host, self.generation - 1)?;
            kept.write(host, self.generation)?;
        }
        host.await_status("without sessions of the old kernel", |status| {
            status.sessions.is_empty()
        })?;
        host.load(flavor)?;
        host.rehearse()
    }

    /// Everybody has what they had, and an update would go through.
    fn is_as_it_was(&self, host: &mut Host<'_, '_>) -> Result<()> {
        self.await_services(host)?;
        for kept in &self.kept {
            kept.check(host, self.generation)?;
        }
        host.rehearse()
    }

    fn await_services(&self, host: &mut Host<'_, '_>) -> Result<()> {
        host.await_status("with all services", |status| {
            THREE.iter().all(|id| is_subscribed(status, id))
        })
        .map(drop)
    }
}

fn kill_at(step: &str) -> String {
    format!("LUOD_KILL_AT={step}")
}
