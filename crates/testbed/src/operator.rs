// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a person at a machine does: runs programs, and loads kernels by luoctl.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use luo_guest::proto::{Exit, Op, Outcome, Reply};

use crate::{
    machine::{INITRD, Machine},
    scenario::Stage,
};

/// No program takes longer, by the machine's clock: on a busy host it may run many times too fast, since the kernel has measured the
/// processor's wrongly. What the host waits for is the limit.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(3600);
/// And that is this.
const OP_TIMEOUT: Duration = Duration::from_secs(180);
/// The images that luoctl loads.
const KERNEL_PATH: &str = "/tmp/next-kernel";
const INITRD_PATH: &str = "/tmp/next-initrd";

/// What a program has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A machine with an agent.
pub(crate) trait Operator {
    /// Has the agent do something; its failure is an ordinary result.
    fn call(&mut self, op: Op) -> Result<Outcome>;

    /// Has the agent do something that has to succeed.
    fn reply(&mut self, op: Op) -> Result<Reply> {
        let outcome = self.call(op)?;
        outcome.map_err(|failure| anyhow!("errno {}: {}", failure.errno, failure.message))
    }

    /// Runs a program to its end.
    fn run(&mut self, argv: &[&str]) -> Result<Said> {
        said(self.call(exec(argv))?).with_context(|| argv.join(" "))
    }

    /// Runs a program that has to exit with 0. Gives what it printed.
    fn succeed(&mut self, argv: &[&str]) -> Result<String> {
        let said = self.run(argv)?;
        ensure!(said.code == 0, "{} fails: {said:?}", argv.join(" "));
        Ok(said.stdout)
    }

    /// Starts a program, its output going to a file. Gives its process.
    fn start(&mut self, argv: &[&str], log: &str) -> Result<u32> {
        let (argv, log) = (words(argv), log.to_owned());
        match self.reply(Op::Spawn { argv, log })? {
            Reply::Pid(pid) => Ok(pid),
            other => bail!("no process: {other:?}"),
        }
    }

    /// Sends a signal to a process.
    fn signal(&mut self, pid: u32, signal: i32) -> Result<()> {
        self.reply(Op::Kill { pid, signal }).map(drop)
    }

    /// Waits for a process to end; gives nothing if it has not by then.
    fn exit(&mut self, pid: u32, timeout: Duration) -> Result<Option<Exit>> {
        let timeout_ms = timeout.as_millis() as u64;
        match self.call(Op::Wait { pid, timeout_ms })? {
            Ok(Reply::Exit(exit)) => Ok(Some(exit)),
            Err(failure) if failure.errno == libc::ETIMEDOUT => Ok(None),
            other => bail!("no exit: {other:?}"),
        }
    }

    /// A file's content.
    fn read(&mut self, path: &str) -> Result<String> {
        match self.reply(Op::ReadFile { path: path.into() })? {
            Reply::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => bail!("{path} gives {other:?}"),
        }
    }

    /// Loads a kernel of the payload disk by `luoctl load`.
    fn load(&mut self, kernel: &str, cmdline: &str) -> Result<()> {
        for (name, path) in [(kernel, KERNEL_PATH), (INITRD, INITRD_PATH)] {
            self.succeed(&["/init", "payload", name, path])?;
        }
        let load = ["luoctl", "load", KERNEL_PATH, "--initrd", INITRD_PATH];
        self.succeed(&[&load[..], &["--cmdline", cmdline]].concat())?;
        self.succeed(&["rm", KERNEL_PATH, INITRD_PATH]).map(drop)
    }
}

impl Operator for Machine {
    fn call(&mut self, op: Op) -> Result<Outcome> {
        Ok(Self::call(self, op, OP_TIMEOUT)?.value)
    }
}

impl Operator for Stage<'_> {
    fn call(&mut self, op: Op) -> Result<Outcome> {
        Self::call(self, op)
    }
}

/// Running a program, as an operation.
pub(crate) fn exec(argv: &[&str]) -> Op {
    Op::Exec {
        argv: words(argv),
        env: Vec::new(),
        timeout_ms: PROGRAM_TIMEOUT.as_millis() as u64,
    }
}

/// What came of it.
pub(crate) fn said(outcome: Outcome) -> Result<Said> {
    match outcome {
        Ok(Reply::Exec {
            end: Exit::Code(code),
            stdout,
            stderr,
        }) => Ok(Said {
            code,
            stdout,
            stderr,
        }),
        other => bail!("no exit code: {other:?}"),
    }
}

fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|&word| word.into()).collect()
}
