// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Leaving a kernel by other means than the agent's own, or into one without an agent.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use luo_guest::proto::{FromGuest, Hello, Op, Outcome};

use super::{Machine, POLL};

/// What came of an operation by which the machine may leave its kernel.
#[derive(Debug, Clone)]
pub enum Left {
    /// It is in the next kernel, which says this of itself.
    For(Hello),
    /// It has not left. The operation gave this.
    Stayed(Outcome),
}

impl Machine {
    /// Has the agent do something; either it gives an outcome, or the machine goes into its next kernel meanwhile.
    ///
    /// # Errors
    /// When the machine dies, or neither happens in time.
    pub fn call_or_leave(&mut self, op: Op, timeout: Duration) -> Result<Left> {
        let what = format!("{op:?}");
        let id = self.agent.send(op)?;
        let answer = self.await_message(timeout, &what, |message| match message {
            FromGuest::Ready(hello) => Some((Left::For(hello), None)),
            FromGuest::Reply {
                id: of, outcome, ..
            } if of == id => Some((Left::Stayed(outcome), None)),
            FromGuest::Leaving { .. } | FromGuest::Reply { .. } => None,
        })?;
        if let Left::For(hello) = &answer.value {
            self.hello = hello.clone();
        }
        Ok(answer.value)
    }

    /// Has the agent go into the loaded kernel. Gives the time-stamp counter at the moment of the system call; that the kernel
    /// refuses is learned by nobody but who waits for the next one.
    ///
    /// # Errors
    /// When the machine dies or does not answer in time.
    pub fn announced_kexec(&mut self, timeout: Duration) -> Result<u64> {
        self.agent.send(Op::KexecAnnounced)?;
        let answer =
            self.await_message(
                timeout,
                "the announcement of a kexec",
                |message| match message {
                    FromGuest::Leaving { tsc } => Some((tsc, None)),
                    FromGuest::Ready(_) | FromGuest::Reply { .. } => None,
                },
            )?;
        Ok(answer.value)
    }

    /// Waits until the machine prints a line in which something is found.
    ///
    /// # Errors
    /// When QEMU ends, or no such line comes in time.
    pub fn wait_for_line<T>(
        &mut self,
        find: impl Fn(&str) -> Option<T>,
        timeout: Duration,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        loop {
            let ended = self.has_ended()?;
            let lines = self.console.since(seen);
            seen += lines.len();
            if let Some(found) = lines.iter().find_map(|line| find(&line.text)) {
                return Ok(found);
            }
            if ended || Instant::now() >= deadline {
                bail!(self.console.report("the line waited for does not come"));
            }
            std::thread::sleep(POLL);
        }
    }
}
