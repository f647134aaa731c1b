// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Going into a kernel without an agent.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use luo_guest::proto::{FromGuest, Op};

use super::{Machine, POLL};

impl Machine {
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
