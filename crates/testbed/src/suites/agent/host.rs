// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A machine on which luod runs, as an operator has it at hand.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{Exit, Op};
use luod::protocol::Status;
use serde::de::DeserializeOwned;

use crate::{
    machine::Left,
    operator::{Operator as _, Said, exec, said},
    scenario::{Flavor, Stage},
};

/// So long may something take that others have to do first.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// How long a process is waited for in one go.
const WAIT: Duration = Duration::from_secs(1);
/// Clients have more time than by luod's default, which is by the machine's clock: on a busy host that may run too fast.
const CLIENTS_TIMEOUT_MS: &str = "600000";
/// The same, for a luod that somebody else starts.
const CLIENTS_TIMEOUT_S: &str = "600";

/// So many last lines of luod's go into an error.
const TAIL: usize = 40;

/// A process of the machine, and where its output goes.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) log: String,
}

/// What came of an update.
#[derive(Debug)]
pub(super) enum Update {
    /// The machine is in the next kernel. Nothing runs in it.
    Went,
    /// It is in the old one; luoctl said this.
    Stayed(Said),
}

/// A machine on which luod runs.
#[derive(Debug)]
pub(super) struct Host<'a, 's> {
    stage: &'a mut Stage<'s>,
    luod: Option<Process>,
    started: u32,
    /// Those that have been seen to end in this kernel.
    ended: BTreeMap<u32, Exit>,
}

impl<'a, 's> Host<'a, 's> {
    /// A machine on which nothing runs yet.
    pub(super) fn new(stage: &'a mut Stage<'s>) -> Self {
        Self {
            stage,
            luod: None,
            started: 0,
            ended: BTreeMap::new(),
        }
    }

    /// Starts luod, as an init system does, and waits until it answers.
    pub(super) fn start_luod(&mut self) -> Result<()> {
        ensure!(
            self.start_luod_with(&[])?,
            "luod has ended before it answered"
        );
        Ok(())
    }

    /// Starts luod with an environment. Gives whether it answers; otherwise it has been killed.
    pub(super) fn start_luod_with(&mut self, environment: &[&str]) -> Result<bool> {
        let luod = ["luod", "--timeout-ms", CLIENTS_TIMEOUT_MS];
        let argv = [&["env"], environment, &luod].concat();
        let luod = self.spawn(&argv)?;
        self.luod = Some(luod.clone());
        let deadline = self.deadline();
        loop {
            if let Some(exit) = self.exit(&luod, POLL)? {
                self.luod = None;
                ensure!(
                    exit == Exit::Signal(libc::SIGKILL),
                    "luod does not start: {exit:?}"
                );
                return Ok(false);
            }
            if self.luoctl(&["status"])?.code == 0 {
                return Ok(true);
            }
            ensure!(Instant::now() < deadline, "luod does not answer");
        }
    }

    /// Waits until a luod answers that somebody else starts.
    pub(super) fn await_luod(&mut self) -> Result<()> {
        let deadline = self.deadline();
        while self.luoctl(&["status"])?.code != 0 {
            ensure!(Instant::now() < deadline, "luod does not answer");
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until luod has been killed.
    pub(super) fn await_luods_death(&mut self) -> Result<()> {
        let luod = self.luod.take().context("luod does not run")?;
        match self.await_exit(&luod).context("luod")? {
            Exit::Signal(libc::SIGKILL) => Ok(()),
            exit => bail!("luod was not killed, but ended with {exit:?}"),
        }
    }

    /// Kills luod, if it runs.
    pub(super) fn kill_luod(&mut self) -> Result<()> {
        if let Some(luod) = self.luod.clone() {
            self.kill(&luod)?;
            self.await_luods_death()?;
        }
        Ok(())
    }

    /// luod's process.
    pub(super) fn luod(&self) -> Result<&Process> {
        self.luod.as_ref().context("luod does not run")
    }

    /// Everything that this luod has logged.
    pub(super) fn luods_log(&mut self) -> Result<String> {
        let log = self.luod()?.log.clone();
        self.read(&log)
    }

    /// Loads the next kernel by luoctl.
    pub(super) fn load(&mut self, into: Flavor) -> Result<()> {
        let cmdline = self.stage.cmdline(into)?;
        self.stage.load(into.name(), &cmdline)
    }

    /// `luoctl update`, with more words.
    pub(super) fn update(&mut self, words: &[&str]) -> Result<Update> {
        let argv = [&["luoctl", "update"], words].concat();
        match self.stage.call_or_leave(exec(&argv))? {
            Left::For(_) => {
                self.luod = None;
                self.ended.clear();
                Ok(Update::Went)
            }
            Left::Stayed(outcome) => said(outcome).map(Update::Stayed),
        }
    }

    /// An update that has to go through. Nothing runs in the next kernel, not even luod.
    pub(super) fn go(&mut self) -> Result<()> {
        match self.update(&[])? {
            Update::Went => Ok(()),
            Update::Stayed(said) => bail!("the update does not go through: {said:?}"),
        }
    }

    /// An update that has to go through, at the end of which the machine is shut down in good order.
    pub(super) fn go_through_shutdown(&mut self) -> Result<()> {
        let Update::Stayed(said) = self.update(&["--timeout", CLIENTS_TIMEOUT_S])? else {
            return Ok(());
        };
        // luoctl may end before everything else does.
        ensure!(said.code == 0, "the update does not go through: {said:?}");
        let ms = PATIENCE.as_millis() as u64;
        match self.stage.call_or_leave(Op::Sleep { ms })? {
            Left::For(_) => {
                self.ended.clear();
                Ok(())
            }
            Left::Stayed(_) => bail!("the machine is not shut down; luoctl says: {said:?}"),
        }
    }

    /// An update that must not go through; luoctl says why.
    pub(super) fn stay(&mut self, words: &[&str], why: &str) -> Result<Said> {
        let Update::Stayed(said) = self.update(words)? else {
            bail!("the update goes through, though it should not: {why}")
        };
        let text = format!("{}{}", said.stdout, said.stderr);
        ensure!(text.contains(why), "luoctl does not say {why:?}: {said:?}");
        Ok(said)
    }

    /// An update that would go through is called off at the last moment.
    pub(super) fn rehearse(&mut self) -> Result<()> {
        let said = self.stay(&["--dry-run"], "Rehearsed")?;
        ensure!(said.code == 0, "the rehearsal fails: {said:?}");
        Ok(())
    }

    pub(super) fn luoctl(&mut self, words: &[&str]) -> Result<Said> {
        self.run(&[&["luoctl"], words].concat())
    }

    pub(super) fn luoctl_json<T: DeserializeOwned>(&mut self, words: &[&str]) -> Result<T> {
        let argv = [&["luoctl"], words, &["--json"]].concat();
        let text = self.succeed(&argv)?;
        serde_json::from_str(&text).with_context(|| format!("luoctl printed {text}"))
    }

    pub(super) fn status(&mut self) -> Result<Status> {
        self.luoctl_json(&["status"])
    }

    /// Waits until luod's status is such.
    pub(super) fn await_status(
        &mut self,
        what: &str,
        is: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let deadline = self.deadline();
        loop {
            let status = self.status()?;
            if is(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "not {what}: {status:#?}");
            thread::sleep(POLL);
        }
    }

    pub(super) fn run(&mut self, argv: &[&str]) -> Result<Said> {
        self.stage.run(argv)
    }

    pub(super) fn succeed(&mut self, argv: &[&str]) -> Result<String> {
        self.stage.succeed(argv)
    }

    pub(super) fn spawn(&mut self, argv: &[&str]) -> Result<Process> {
        self.started += 1;
        let log = format!("/tmp/output-{}", self.started);
        let pid = self.stage.start(argv, &log)?;
        Ok(Process { pid, log })
    }

    /// Starts a mode of the guest's init under a user, who may have an eye on other programs of that user only.
    pub(super) fn spawn_as(&mut self, uid: u32, words: &[&str]) -> Result<Process> {
        let uid = uid.to_string();
        self.spawn(&[&["/init", "as", &uid, "/init"], words].concat())
    }

    /// Waits until a process has said something; gives all of it.
    pub(super) fn await_word(&mut self, process: &Process, word: &str) -> Result<String> {
        self.await_words(process, word, 1)
    }

    /// The same for something that is said so often.
    pub(super) fn await_words(
        &mut self,
        process: &Process,
        word: &str,
        times: usize,
    ) -> Result<String> {
        let deadline = self.deadline();
        loop {
            let exit = self.exit(process, Duration::ZERO)?;
            let text = self.read(&process.log)?;
            if text.matches(word).count() >= times {
                return Ok(text);
            }
            ensure!(
                exit.is_none(),
                "the process has ended ({exit:?}) before it has said {word:?} {times} times:\n{text}"
            );
            ensure!(
                Instant::now() < deadline,
                "the process has not said {word:?} {times} times:\n{text}"
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until a process has ended.
    pub(super) fn await_exit(&mut self, process: &Process) -> Result<Exit> {
        let deadline = self.deadline();
        loop {
            if let Some(exit) = self.exit(process, WAIT)? {
                return Ok(exit);
            }
            ensure!(Instant::now() < deadline, "the process has not ended");
        }
    }

    pub(super) fn kill(&mut self, process: &Process) -> Result<()> {
        self.stage.signal(process.pid, libc::SIGKILL)
    }

    pub(super) fn read(&mut self, path: &str) -> Result<String> {
        self.stage.read(path)
    }

    /// Adds what luod has logged to an error, if it is still there to be read.
    pub(super) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        match self.luods_log() {
            Ok(log) => {
                let lines: Vec<_> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(TAIL)..];
                error.context(format!("luod's last lines:\n{}\n", tail.join("\n")))
            }
            Err(_) => error,
        }
    }

    /// How a process has ended, however often it is asked.
    fn exit(&mut self, process: &Process, timeout: Duration) -> Result<Option<Exit>> {
        if let Some(exit) = self.ended.get(&process.pid) {
            return Ok(Some(*exit));
        }
        let exit = self.stage.exit(process.pid, timeout)?;
        self.ended.extend(exit.map(|exit| (process.pid, exit)));
        Ok(exit)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.stage.patiently(PATIENCE)
    }
}
