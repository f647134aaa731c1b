// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Runs a scenario on a machine of its own.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{FREE_PER_CPU, Hello, Op, Outcome, Reply};

use super::{Action, Expect, Flavor, Hop, Image, Scenario, debug, expect::passed_subtests};
use crate::image::systemd;
use crate::machine::{INITRD, Kernel, Left, Machine, MachineConfig, log_path};

/// No operation of the suites takes longer, by far, on a slow host.
const OP_TIMEOUT: Duration = Duration::from_secs(180);
/// How often, and at what distance, memory that is not free yet is looked at again.
const SETTLE_ROUNDS: u32 = 10;
const SETTLE_MS: u64 = 500;
/// So often is a kexec asked for that is refused because of what others are about to finish.
const INSISTENCE: u32 = 1000;

/// What scenarios run with.
#[derive(Debug, Clone)]
pub struct Lab {
    /// A bzImage for each flavor.
    pub kernels: BTreeMap<Flavor, PathBuf>,
    /// The initial ramdisk of every kernel.
    pub initrd: Vec<u8>,
    /// The one of scenarios that ask for [`Image::Agent`].
    pub agent_initrd: Vec<u8>,
    /// The one of scenarios that ask for [`Image::Systemd`].
    pub systemd_initrd: Vec<u8>,
    /// Where console logs are kept.
    pub logs: PathBuf,
    /// Appended to every command line.
    pub extra_cmdline: String,
}

impl Lab {
    /// The same with luod in every machine.
    pub fn with_agent(&self) -> Self {
        Self {
            initrd: self.agent_initrd.clone(),
            ..self.clone()
        }
    }

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
    let mut config = lab.machine(&scenario.name, &scenario.flavors(), scenario.first)?;
    match scenario.image {
        Image::Base => {}
        Image::Agent => config.initrd.clone_from(&lab.agent_initrd),
        Image::Systemd => {
            config.initrd.clone_from(&lab.systemd_initrd);
            config.extra_cmdline = format!("{} {}", config.extra_cmdline, systemd::CMDLINE);
        }
    }
    (scenario.adapt)(&mut config);
    let log = config.log.clone();
    let mut stage = Stage::start(config, scenario)?;
    stage
        .run()
        .with_context(|| format!("console log: {}", log.display()))?;
    Ok(stage.subtests)
}

/// A scenario on its machine.
#[derive(Debug)]
pub struct Stage<'a> {
    pub(super) scenario: &'a Scenario,
    config: MachineConfig,
    pub(super) machine: Machine,
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
            if let Action::Last(..) = action {
                return Ok(());
            }
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
            Action::Last(op, text) => self.leave(op, text),
            Action::Play(play) => play.run(self),
        }
    }

    fn leave(&mut self, op: &Op, text: &str) -> Result<()> {
        self.check_log()?;
        self.machine.send(op.clone())?;
        let is_it = |line: &str| line.contains(text).then_some(());
        let timeout = self.patiently(OP_TIMEOUT);
        self.machine.wait_for_line(is_it, timeout)
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

    /// The memory of the machine, whatever its kernels know of it.
    pub fn machine_memory_kib(&self) -> u64 {
        u64::from(self.config.memory_mib) * 1024
    }

    /// A time limit for this scenario's kernels.
    pub fn patiently(&self, timeout: Duration) -> Duration {
        timeout * self.config.patience
    }

    /// Has the agent do something; its failure is an ordinary result.
    ///
    /// # Errors
    /// When the machine dies or does not answer in time.
    pub fn call(&mut self, op: Op) -> Result<Outcome> {
        Ok(self.machine.call(op, self.patiently(OP_TIMEOUT))?.value)
    }

    /// Has the agent do something by which the machine may leave its kernel.
    ///
    /// # Errors
    /// When the machine dies, or neither happens in time; or trouble in the log so far.
    pub fn call_or_leave(&mut self, op: Op) -> Result<Left> {
        self.check_log()?;
        self.machine.call_or_leave(op, self.patiently(OP_TIMEOUT))
    }

    /// Waits until the machine has left its kernel, and the next one's agent answers.
    ///
    /// # Errors
    /// When the machine dies or is not ready in time.
    pub fn await_next_kernel(&mut self) -> Result<Hello> {
        self.machine.wait_until_ready(self.patiently(OP_TIMEOUT))?;
        Ok(self.machine.hello().clone())
    }

    /// The command line that a kernel of this scenario boots with.
    ///
    /// # Errors
    /// When the scenario has no such kernel.
    pub fn cmdline(&self, kernel: Flavor) -> Result<String> {
        self.config.cmdline(kernel.name(), &[])
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
