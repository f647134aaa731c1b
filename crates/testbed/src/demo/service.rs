// SPDX-License-Identifier: Apache-2.0 OR MIT

//! memcached in the guest, and what an operator does to carry its memory over: nothing but luod and luoctl.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{Exit, Hello};
use luod::protocol::{SOCKET_PATH, Timeline};

use super::MEMCACHED;
use crate::{
    machine::{Left, Machine},
    operator::{Operator as _, exec, said},
};

/// memcached's port.
pub(super) const PORT: u16 = 11211;

/// What luod keeps for it.
const NAME: &str = "memcached";
const LOG_PATH: &str = "/run/memcached.log";
const LUODS_LOG_PATH: &str = "/run/luod.log";
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const UPDATE_TIMEOUT: Duration = Duration::from_secs(120);
/// memcached needs about 250 bytes for a key with its value; twice that leaves room for its size classes.
const BYTES_PER_KEY: u64 = 512;

/// How large the memory file is that so many keys get.
pub fn memory_mib(keys: u32) -> u64 {
    64 + u64::from(keys) * BYTES_PER_KEY / (1 << 20)
}

#[derive(Debug)]
pub(super) struct Service {
    memory_mib: u64,
    /// A link to the memory file; memcached writes its notes beside it.
    memory_path: String,
    pid: u32,
}

impl Service {
    pub(super) fn start(machine: &mut Machine, keys: u32) -> Result<Self> {
        start_luod(machine)?;
        let memory_mib = memory_mib(keys);
        let size = format!("{memory_mib}M");
        let said = machine.succeed(&["luoctl", "keep", "add", NAME, "--size", &size])?;
        let path = said.lines().find(|line| line.starts_with('/'));
        let mut service = Self {
            memory_mib,
            memory_path: path
                .with_context(|| format!("luoctl gives no path: {said}"))?
                .to_owned(),
            pid: 0,
        };
        service.start_again(machine)?;
        Ok(service)
    }

    /// A clean stop, in which memcached notes what it needs to go on.
    pub(super) fn stop(&self, machine: &mut Machine) -> Result<()> {
        machine.signal(self.pid, libc::SIGUSR1)?;
        match machine.exit(self.pid, STOP_TIMEOUT)? {
            Some(Exit::Code(0)) => Ok(()),
            end => bail!("memcached did not stop cleanly: {end:?}"),
        }
    }

    /// memcached refuses memory whose stop is not in the past by its clock, which counts seconds; a kernel that has just booted
    /// has its time from a clock that counts seconds too.
    pub(super) fn wait_for_clock(&self, machine: &mut Machine) -> Result<()> {
        let stop_time = stop_time(&machine.read(&format!("{}.meta", self.memory_path))?)?;
        let script = format!("while [ $(date +%s) -le {stop_time} ]; do sleep 0.02; done");
        let waited = machine.run(&["/bin/sh", "-c", &script])?;
        ensure!(
            waited.code == 0,
            "the guest's clock does not reach {stop_time}, when memcached was stopped: {waited:?}"
        );
        Ok(())
    }

    pub(super) fn start_again(&mut self, machine: &mut Machine) -> Result<()> {
        let (memory, port) = (self.memory_mib.to_string(), PORT.to_string());
        let argv = [
            MEMCACHED,
            "-u",
            "root",
            "-m",
            &memory,
            "-e",
            &self.memory_path,
            "-p",
            &port,
            "-U",
            "0",
            "-v",
        ];
        self.pid = machine.start(&argv, LOG_PATH)?;
        Ok(())
    }
}

/// Starts luod, as an init system does, and waits until it listens: then everything that it keeps is where it was.
pub(super) fn start_luod(machine: &mut Machine) -> Result<()> {
    machine.start(&["luod"], LUODS_LOG_PATH)?;
    let script = format!("until [ -S {SOCKET_PATH} ]; do sleep 0.005; done");
    let waited = machine.run(&["/bin/sh", "-c", &script])?;
    ensure!(waited.code == 0, "luod does not listen: {waited:?}");
    Ok(())
}

/// Replaces the kernel.
pub(super) fn update(machine: &mut Machine) -> Result<Hello> {
    match machine.call_or_leave(exec(&["luoctl", "update"]), UPDATE_TIMEOUT)? {
        Left::For(hello) => Ok(hello),
        Left::Stayed(outcome) => {
            let said = said(outcome)?;
            let log = machine.read(LUODS_LOG_PATH).unwrap_or_default();
            bail!("the update does not go through: {said:?}\nluod's log:\n{log}")
        }
    }
}

/// How long the old kernel was left alone with luod: from the operator's wish to the reboot.
pub(super) fn preserving(machine: &mut Machine) -> Result<Duration> {
    let text = machine.succeed(&["luoctl", "timeline", "--json"])?;
    let timeline: Timeline =
        serde_json::from_str(&text).with_context(|| format!("not a timeline: {text}"))?;
    // The clients' part, of which there are none here, and the agent's own.
    let ms: f64 = timeline.spans.iter().take(2).map(|span| span.ms).sum();
    Ok(Duration::from_secs_f64(ms.max(0.0) / 1000.0))
}

/// From memcached's notes: lines of `K` + name + space + value.
fn stop_time(meta: &str) -> Result<u64> {
    let value = meta
        .lines()
        .find_map(|line| line.strip_prefix("Kstop_time "));
    value
        .context("memcached's notes have no stop_time")?
        .parse()
        .context("memcached's stop_time is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_time_is_found_in_memcacheds_notes() {
        assert_eq!(
            stop_time("Tmain\nKcurrent_time 64\nKstop_time 1795432576\nKhashpower 16\n").unwrap(),
            1_795_432_576
        );
        assert!(stop_time("Tmain\n").is_err());
    }
}
