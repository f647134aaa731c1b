// SPDX-License-Identifier: Apache-2.0 OR MIT

//! luod killed at each of its steps, and started again as an init system would: nothing is lost.
//!
//! In the old kernel the update does not take place, and everything is as it was; in the next one everybody gets what is theirs,
//! from the luod that comes after.

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

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor) -> Result<()> {
    let steps = host.succeed(&["luod", "--list-kill-points"])?;
    let steps: Vec<_> = steps.lines().map(str::to_owned).collect();
    ensure!(steps.len() > 10, "so few steps? {steps:?}");

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
    let mut crossed = 0;
    for step in &steps {
        let before = world.generation;
        world
            .survive(host, flavor, step)
            .with_context(|| format!("luod killed at {step}"))?;
        crossed += world.generation - before;
    }
    ensure!(
        crossed > 0 && (crossed as usize) < steps.len(),
        "{crossed} of {} steps come after the reboot",
        steps.len()
    );
    Ok(())
}

impl World {
    /// One step, in whichever kernel luod comes to it.
    fn survive(&mut self, host: &mut Host<'_, '_>, flavor: Flavor, step: &str) -> Result<()> {
        let kill = format!("LUOD_KILL_AT={step}");
        host.kill_luod()?;
        if !host.start_luod_with(&[&kill])? {
            host.start_luod()?;
        }
        self.await_services(host)?;
        match host.update(&[])? {
            Update::Stayed(said) => {
                ensure!(said.code != 0, "luoctl takes it for a success: {said:?}");
                host.await_luods_death()
                    .with_context(|| format!("luoctl update: {said:?}"))?;
                host.start_luod()?;
                self.is_as_it_was(host)
            }
            Update::Went => self.come_back(host, flavor, &kill),
        }
    }

    /// The next kernel, in which luod is killed once.
    fn come_back(&mut self, host: &mut Host<'_, '_>, flavor: Flavor, kill: &str) -> Result<()> {
        let died_early = !host.start_luod_with(&[kill])?;
        if died_early {
            host.start_luod()?;
        }
        self.generation += 1;
        self.services = come_back(host, &THREE, self.generation)?;
        if !died_early {
            host.await_luods_death()?;
            host.start_luod()?;
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
