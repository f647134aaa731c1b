// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A client that asks for one key all the time, and so sees how long the service is away.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::client;

/// Between questions, and between attempts to connect.
const PAUSE: Duration = Duration::from_millis(5);
/// An answer that takes longer is none: QEMU accepts connections for a guest that is not there.
const PATIENCE: Duration = Duration::from_millis(250);
/// A shorter time without an answer is none.
const NOTABLE: Duration = Duration::from_millis(50);
const STORE: &[u8] = b"set probe 0 0 5\r\nalive\r\n";
const ASK: &[u8] = b"get probe\r\n";

#[derive(Debug)]
pub(super) struct Probe {
    answers: Arc<Mutex<Answers>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A time without an answer, from the answer before it to the one after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) start: Instant,
    pub(super) end: Instant,
}

impl Gap {
    pub(super) fn duration(self) -> Duration {
        self.end - self.start
    }
}

#[derive(Debug, Default)]
struct Answers {
    last: Option<Instant>,
    gaps: Vec<Gap>,
}

impl Answers {
    fn add(&mut self, at: Instant) {
        if let Some(last) = self.last {
            let gap = Gap {
                start: last,
                end: at,
            };
            if gap.duration() > NOTABLE {
                self.gaps.push(gap);
            }
        }
        self.last = Some(at);
    }

    /// A busy host makes the client wait at other times too.
    fn gap_around(&self, moment: Instant) -> Option<Gap> {
        self.gaps
            .iter()
            .copied()
            .find(|gap| gap.start <= moment && moment <= gap.end)
    }
}

impl Probe {
    pub(super) fn start(port: u16) -> Self {
        let (answers, stop) = (
            Arc::<Mutex<Answers>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (to, until) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            // The key is stored once: an answer after the kexec is the old memory's.
            let mut stored = false;
            while !until.load(Ordering::Relaxed) {
                let ended = ask_on_one_connection(port, &mut stored, &to, &until);
                drop(ended);
                thread::sleep(PAUSE);
            }
        });
        Self {
            answers,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits for the first answer.
    pub(super) fn wait_for_answer(&self, timeout: Duration) -> Result<()> {
        self.wait(timeout, |_| true)
    }

    /// Waits for an answer after `start`.
    pub(super) fn wait_for_answer_after(&self, start: Instant, timeout: Duration) -> Result<()> {
        self.wait(timeout, |last| last > start)
    }

    /// The time without an answer that `moment` lies in; it is over.
    pub(super) fn gap(&self, moment: Instant) -> Result<Gap> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .gap_around(moment)
            .context("the probe got answers all the time; was the service never away?")
    }

    fn wait(&self, timeout: Duration, enough: impl Fn(Instant) -> bool) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            let last = self
                .answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .last;
            if last.is_some_and(&enough) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("no answer to the probe within {} s", timeout.as_secs())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn ask_on_one_connection(
    port: u16,
    stored: &mut bool,
    answers: &Mutex<Answers>,
    until: &AtomicBool,
) -> Result<()> {
    let mut stream: TcpStream = client::connect(port)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    let mut next_line = |wanted: &str| -> Result<()> {
        line.clear();
        replies.read_line(&mut line)?;
        ensure!(
            line.trim_end() == wanted,
            "memcached said {line:?} instead of {wanted}"
        );
        Ok(())
    };
    if !*stored {
        stream.write_all(STORE)?;
        next_line("STORED")?;
        *stored = true;
    }
    while !until.load(Ordering::Relaxed) {
        stream.write_all(ASK)?;
        for wanted in ["VALUE probe 0 5", "alive", "END"] {
            next_line(wanted)?;
        }
        answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(Instant::now());
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_that_counts_is_the_one_around_the_moment() {
        let mut answers = Answers::default();
        let start = Instant::now();
        for ms in [0, 5, 3005, 3010, 4010, 4020] {
            answers.add(start + Duration::from_millis(ms));
        }
        let gap = answers
            .gap_around(start + Duration::from_millis(3500))
            .unwrap();
        assert_eq!(
            (gap.start, gap.duration()),
            (start + Duration::from_millis(3010), Duration::from_secs(1))
        );
        assert!(
            answers
                .gap_around(start + Duration::from_millis(4015))
                .is_none()
        );
    }
}
