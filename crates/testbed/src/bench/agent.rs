// SPDX-License-Identifier: Apache-2.0 OR MIT

//! luod's share of a blackout: what it does between the last READY and the reboot, and in the next kernel until all sessions are
//! with those whose they are.
//!
//! The guest's clock counts instructions. What the kernel does for luod, such as giving it the sessions, is in it; leaving the
//! kernel and booting the next one is not, nor is the clients' own work.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use luod::protocol::{SOCKET_PATH, Timeline};

use super::{
    BlackoutFigure, Results,
    blackout::{Phase, Unit},
    stand::{STEP_TIMEOUT, Stand},
};
use crate::{
    machine::{Left, Machine},
    operator::{Operator as _, exec, said},
    scenario::{Flavor, Lab},
};

/// A session each.
pub(super) const CLIENTS: u32 = 100;
const MEMORY_MIB: u32 = 2048;
/// Of the timeline: after the last READY, and from luod's start in the next kernel to its readiness.
const OWN_SPANS: [usize; 2] = [1, 4];
const LOG: &str = "/tmp/crowd";

pub(super) fn measure(lab: &Lab, flavor: Flavor, results: &mut Results) -> Result<()> {
    let lab = lab.with_agent();
    let mut stand = Stand::start(&lab, flavor, "agent", MEMORY_MIB)?;
    let cmdline = stand.cmdline()?;
    let machine = &mut stand.machine;
    start_luod(machine)?;
    crowd(machine, &["join=0"], "subscribed")?;
    machine.load(flavor.name(), &cmdline)?;
    let update = exec(&["luoctl", "update"]);
    if let Left::Stayed(outcome) = machine.call_or_leave(update, STEP_TIMEOUT)? {
        bail!("the update does not go through: {:?}", said(outcome)?);
    }
    let luod = start_luod(machine)?;
    let process = format!("luod={luod}");
    let said = crowd(machine, &["claim=0", &process], "done")?;
    let claims_us = word_after(&said, "at work for ")?;
    let text = machine.succeed(&["luoctl", "timeline", "--json"])?;
    let timeline: Timeline =
        serde_json::from_str(&text).with_context(|| format!("not a timeline: {text}"))?;
    let mut phases = OWN_SPANS
        .iter()
        .map(|&number| {
            let span = timeline.spans.get(number).context("a span is missing")?;
            Ok(Phase {
                name: span.name.clone(),
                value: span.ms,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    phases.push(Phase {
        name: format!("agent at work for {CLIENTS} CLAIMs"),
        value: claims_us / 1000.0,
    });
    ensure!(
        machine.exit(luod, Duration::ZERO)?.is_none(),
        "luod is gone"
    );
    results.blackouts.push(BlackoutFigure {
        flavor,
        unit: Unit::OwnMilliseconds,
        phases,
    });
    Ok(())
}

fn start_luod(machine: &mut Machine) -> Result<u32> {
    let luod = machine.start(&["luod"], "/tmp/luod")?;
    let script = format!("until [ -S {SOCKET_PATH} ]; do sleep 0.01; done");
    machine.succeed(&["/bin/sh", "-c", &script])?;
    Ok(luod)
}

/// Starts the clients; gives what they have said once they have said this.
fn crowd(machine: &mut Machine, words: &[&str], until: &str) -> Result<String> {
    let count = CLIENTS.to_string();
    let crowd = ["/init", "crowd", "client-", &count];
    let pid = machine.start(&[&crowd[..], words].concat(), LOG)?;
    loop {
        let exit = machine.exit(pid, Duration::ZERO)?;
        let said = machine.read(LOG)?;
        if said.contains(until) {
            return Ok(said);
        }
        ensure!(exit.is_none(), "the clients have ended: {said}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The number after a text.
fn word_after(said: &str, text: &str) -> Result<f64> {
    let (_, rest) = said
        .split_once(text)
        .with_context(|| format!("no {text:?} in {said:?}"))?;
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.parse()
        .with_context(|| format!("not a number: {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_time_is_found_in_what_they_say() {
        let said = "claimed 100 in 52000 us\nluod was at work for 9000 us\ndone 100\n";
        assert!((word_after(said, "at work for ").unwrap() - 9000.0).abs() < 0.1);
        assert!(word_after("done 100\n", "at work for ").is_err());
    }
}
