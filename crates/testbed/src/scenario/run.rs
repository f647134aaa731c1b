// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Runs a scenario on a machine of its own.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{FREE_PER_CPU, LogLine, Op, Outcome, Reply};

use super::{Action, Expect, Flavor, Hop, Scenario, debug, expect::passed_subtests};
use crate::{
    machine::{INITRD, Kernel, Machine, MachineConfig, log_path},
    watch,
};

/// No operation of the suites takes longer, by far, on a slow host.
const OP_TIMEOUT: Duration = Duration::from_secs(180);
/// Log messages of these, at warning level or worse, are trouble too.
const OWN_MESSAGES: [&str; 5] = ["luo", "liveupdate", "kho", "memfd_luo", "rust_luo"];
/// How often, and at what distance, memory that is not free yet is looked at again.
const SETTLE_ROUNDS: u32 = 10;
const SETTLE_MS: u64 = 500;
/// So often is a kexec asked for that is refused because of what others are about to finish.
const INSISTENCE: u32 = 1000;
/// Kernel log levels.
const WARNING: u8 = 4;

/// What scenarios run with.
#[derive(Debug)]
pub struct Lab {
    /// A bzImage for each flavor.
    pub kernels: BTreeMap<Flavor, PathBuf>,
    /// The initial ramdisk of every kernel.
    pub initrd: Vec<u8>,
    /// Where console logs are kept.
    pub logs: PathBuf,
    /// Appended to every command line.
    pub extra_cmdline: String,
}

impl Lab {
    /// A machine for these kernels; its console goes to a file named for `about`.
    ///
    /// # Errors
    /// When a kernel is not there.
    pub fn machine(&self, about: &str, flavors: &[Flavor], first: Flavor) -> Result<MachineConfig> {
        let kernel = |flavor: &Flavor| {
            let image = self
                .kernels
                .get(flavor)
                .with_context(|| format!("no {} kernel given", flavor.name()))?;
            Ok(Kernel {
                name: flavor.name().into(),
                image: image.clone(),
            })
        };
        let kernels = flavors.iter().map(kernel).collect::<Result<Vec<_>>>()?;
        let log = log_path(&self.logs, about);
        let mut config = MachineConfig::new(kernels, first.name(), self.initrd.clone(), log);
        config.extra_cmdline.clone_from(&self.extra_cmdline);
        debug::adapt(&mut config);
        Ok(config)
    }
}

/// Runs a scenario; gives the number of tests that upstream's own programs in it have passed.
///
/// # Errors
/// The first step that went wrong, or trouble in the log; names the log file.
pub fn run(scenario: &Scenario, lab: &Lab) -> Result<usize> {
    let result = play(scenario, lab);
    let Some(symptom) = scenario.must_fail_with else {
        return result;
    };
    match result {
        Ok(_) => bail!("it passes, though it should fail with \"{symptom}\""),
        Err(error) if format!("{error:#}").contains(symptom) => Ok(0),
        Err(error) => Err(error.context(format!("fails, but not with \"{symptom}\""))),
    }
}

fn play(scenario: &Scenario, lab: &Lab) -> Result<usize> {
    let config = lab.machine(&scenario.name, &scenario.flavors(), scenario.first)?;
    let log = config.log.clone();
    let mut stage = Stage::start(config, scenario)?;
    stage
        .run()
        .with_context(|| format!("console log: {}", log.display()))?;
    Ok(stage.subtests)
}

struct Stage<'a> {
    scenario: &'a Scenario,
    config: MachineConfig,
    machine: Machine,
    marks: BTreeMap<&'static str, u64>,
    subtests: usize,
}

impl<'a> Stage<'a> {
    fn start(config: MachineConfig, scenario: &'a Scenario) -> Result<Self> {
        let machine = Machine::boot(&config)?;
        Ok(Self {
            scenario,
            config,
            machine,
            marks: BTreeMap::new(),
            subtests: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        for (number, action) in (1..).zip(&self.scenario.actions) {
            let step = || format!("step {number}: {}", describe(action));
            if let Action::Judge { action, symptom } = action
                && self.scenario.judged == Flavor::C
            {
                return self.expect_defect(action, symptom).with_context(step);
            }
            self.act(action).with_context(step)?;
        }
        self.check_log()?;
        self.check_leaks()
    }

    /// The defect ends the scenario: what comes after depends on it.
    fn expect_defect(&mut self, action: &Action, symptom: &str) -> Result<()> {
        match self.act(action) {
            Ok(()) => bail!("the C kernel does not show its defect here"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(
                    text.contains(symptom),
                    "the C kernel fails, but not with \"{symptom}\": {text}"
                );
                Ok(())
            }
        }
    }

    fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Do(op, expect) => {
                let outcome = self.call(op.clone())?;
                self.subtests += passed_subtests(&outcome);
                expect.check(&outcome)
            }
            Action::Kexec(hop) => self.kexec(hop),
            Action::KexecRefused(hop, errno) => {
                self.load(hop)?;
                match self
                    .machine
                    .kexec(self.patiently(Duration::from_secs(hop.timeout_s)))?
                {
                    Ok(_) => bail!(
                        "the kernel went through with a kexec it should refuse with errno {errno}"
                    ),
                    Err(failure) => Expect::Errno(*errno).check(&Err(failure)),
                }
            }
            Action::MarkMemory(name) => {
                let free = self.free_memory_kib()?;
                self.marks.insert(name, free);
                Ok(())
            }
            Action::SameMemory {
                mark,
                tolerance_kib,
            } => {
                let before = *self
                    .marks
                    .get(mark)
                    .with_context(|| format!("no mark \"{mark}\""))?;
                let tolerance_kib = tolerance_kib + self.config.held_back_kib;
                let (now, lost) = self.settled_loss_kib(before, tolerance_kib)?;
                ensure!(
                    lost <= tolerance_kib,
                    "{lost} KiB of memory are lost since \"{mark}\" ({before} -> {now} KiB free)"
                );
                Ok(())
            }
            Action::Printed(text) => {
                ensure!(
                    self.has_printed(text)?,
                    self.machine
                        .console()
                        .report(&format!("not printed: {text}"))
                );
                Ok(())
            }
            Action::NotPrinted(text) => {
                ensure!(
                    !self.has_printed(text)?,
                    self.machine.console().report(&format!("printed: {text}"))
                );
                Ok(())
            }
            Action::Judge { action, .. } => self.act(action),
        }
    }

    fn kexec(&mut self, hop: &Hop) -> Result<()> {
        self.load(hop)?;
        self.check_log()?;
        let timeout = self.patiently(Duration::from_secs(hop.timeout_s));
        let mut attempts = if hop.insists { INSISTENCE } else { 1 };
        loop {
            attempts -= 1;
            match self.machine.kexec(timeout)? {
                Ok(_) => return Ok(()),
                Err(failure) if failure.errno == libc::EBUSY && attempts > 0 => {}
                Err(failure) => bail!(
                    "the kernel refuses the kexec with errno {}: {}",
                    failure.errno,
                    failure.message
                ),
            }
        }
    }

    fn load(&mut self, hop: &Hop) -> Result<()> {
        let op = Op::KexecLoad {
            kernel: hop.into.name().into(),
            initrd: INITRD.into(),
            cmdline: self.config.cmdline(hop.into.name(), &[hop.cmdline])?,
            method: hop.method,
        };
        Expect::Success.check(&self.call(op)?)
    }

    fn patiently(&self, timeout: Duration) -> Duration {
        timeout * self.config.patience
    }

    fn call(&mut self, op: Op) -> Result<Outcome> {
        Ok(self.machine.call(op, self.patiently(OP_TIMEOUT))?.value)
    }

    /// What is free now and how much less that is than `before`. The kernel frees some memory only after a while, so a
    /// loss beyond the tolerance is looked at again: what is leaked stays lost.
    fn settled_loss_kib(&mut self, before: u64, tolerance_kib: u64) -> Result<(u64, u64)> {
        for _ in 0..SETTLE_ROUNDS {
            let now = self.free_memory_kib()?;
            let lost = before.saturating_sub(now);
            if lost <= tolerance_kib {
                return Ok((now, lost));
            }
            Expect::Success.check(&self.call(Op::Sleep { ms: SETTLE_MS })?)?;
        }
        let now = self.free_memory_kib()?;
        Ok((now, before.saturating_sub(now)))
    }

    fn free_memory_kib(&mut self) -> Result<u64> {
        match self.call(Op::MemInfo)? {
            Ok(Reply::MemInfo(info)) => ["MemFree", FREE_PER_CPU]
                .iter()
                .map(|name| info.get(*name).with_context(|| format!("no {name}")))
                .sum(),
            other => bail!("no memory information: {other:?}"),
        }
    }

    /// By the kernel's own account: the console may lag behind.
    fn has_printed(&mut self, text: &str) -> Result<bool> {
        Ok(self
            .kernel_log()?
            .iter()
            .any(|line| line.text.contains(text)))
    }

    fn kernel_log(&mut self) -> Result<Vec<LogLine>> {
        match self.call(Op::Dmesg)? {
            Ok(Reply::Log(log)) => Ok(log),
            other => bail!("cannot read the kernel's log: {other:?}"),
        }
    }

    /// Asks kmemleak, where the kernel has it.
    fn check_leaks(&mut self) -> Result<()> {
        let read = || Op::ReadFile {
            path: debug::KMEMLEAK.into(),
        };
        if self.call(read())?.is_err() {
            return Ok(());
        }
        Expect::Success.check(&self.call(Op::Sleep {
            ms: debug::KMEMLEAK_AGE_MS,
        })?)?;
        // What only moved during the first scan is found again by the second.
        for _ in 0..2 {
            let scan = Op::WriteFile {
                path: debug::KMEMLEAK.into(),
                bytes: b"scan".to_vec(),
            };
            Expect::Success.check(&self.call(scan)?)?;
        }
        let Ok(Reply::Bytes(report)) = self.call(read())? else {
            bail!("cannot read {}", debug::KMEMLEAK)
        };
        let leaks = debug::our_leaks(&String::from_utf8_lossy(&report));
        ensure!(leaks.is_empty(), "leaked:\n{}", leaks.join("\n"));
        Ok(())
    }

    /// The console from the beginning, and the running kernel's own log with its levels.
    fn check_log(&mut self) -> Result<()> {
        let log = self.kernel_log()?;
        let lines = self.machine.console().lines();
        let console = lines.iter().map(|line| line.text.as_str());
        // The console's last lines may still be on their way.
        let texts = console.chain(log.iter().map(|line| line.text.as_str()));
        let trouble = watch::unexpected(texts, &self.scenario.expected_trouble);
        ensure!(
            trouble.is_empty(),
            "trouble in the kernel's log:\n    {}",
            trouble.join("\n    ")
        );
        let complaints: Vec<_> = log
            .iter()
            .filter(|line| is_complaint(line, &self.scenario.expected_trouble))
            .map(|line| &*line.text)
            .collect();
        ensure!(
            complaints.is_empty(),
            "live update complains in the kernel's log:\n    {}",
            complaints.join("\n    ")
        );
        Ok(())
    }
}

fn is_complaint(line: &LogLine, expected: &[&str]) -> bool {
    let text = line.text.to_lowercase();
    line.level <= WARNING
        && OWN_MESSAGES.iter().any(|prefix| text.starts_with(prefix))
        && !expected.iter().any(|part| line.text.contains(part))
}

fn describe(action: &Action) -> String {
    match action {
        Action::Do(op, _) => {
            let mut text = format!("{op:?}");
            text.truncate(
                text.char_indices()
                    .nth(200)
                    .map_or(text.len(), |(at, _)| at),
            );
            text
        }
        Action::Kexec(hop) => format!("kexec into {}", hop.into.name()),
        Action::KexecRefused(hop, errno) => format!(
            "kexec into {}, to be refused with errno {errno}",
            hop.into.name()
        ),
        Action::Judge { action, .. } => describe(action),
        other => format!("{other:?}"),
    }
}

/// Where console logs go when the caller does not care.
///
/// # Errors
/// When the cache cannot be made.
pub fn default_logs() -> Result<PathBuf> {
    crate::cache::folder("logs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_updates_own_warnings_are_complaints() {
        let line = |level, text: &str| LogLine {
            level,
            us: 0,
            text: text.into(),
        };
        assert!(is_complaint(
            &line(4, "luo_session: Unable to finish session [x] on release"),
            &[]
        ));
        assert!(is_complaint(&line(3, "KHO: failed"), &[]));
        assert!(!is_complaint(
            &line(6, "luo_core: Retrieved live update data"),
            &[]
        ));
        assert!(!is_complaint(
            &line(4, "APIC calibration not consistent"),
            &[]
        ));
        assert!(!is_complaint(&line(4, "luo: no handler"), &["no handler"]));
    }
}
