// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The workers.

use std::{convert::Infallible, fs, time::Duration};

use anyhow::{Context as _, Result};
use liveupdate::{Device, Incoming, Outgoing, Session, Token};
use rustix::io::Errno;

use super::{
    JOURNAL, LATE, MOST_FILES, NAMES, arrived, content,
    journal::{Journal, Known},
    memfd, number, session_name, tolerate, verify,
};

/// A session that a worker fills.
struct Filling {
    session: Session<Outgoing>,
    name: u32,
    files: u16,
}

struct Worker {
    generation: u32,
    number: u32,
    journal: Journal,
    filling: Vec<Filling>,
    late: Option<Session<Incoming>>,
}

/// `churn GENERATION WORKER`: goes on until the kernel is replaced. What goes wrong is a warning in the kernel's log, where the
/// host sees it.
pub(crate) fn work(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (generation, number) = (number(args.next())?, number(args.next())?);
    fastrand::seed(u64::from(generation) << 32 | u64::from(number));
    let Err(error) = Worker::start(generation, number).and_then(|mut worker| worker.churn());
    let warning = format!("<4>WARNING: churn {generation} {number}: {error:#}\n");
    fs::write("/dev/kmsg", warning).context("cannot write to /dev/kmsg")?;
    Err(error)
}

impl Worker {
    fn start(generation: u32, number: u32) -> Result<Self> {
        let mut worker = Self {
            generation,
            number,
            journal: Journal::new()?,
            filling: Vec::new(),
            late: None,
        };
        if let Some(before) = generation.checked_sub(1) {
            let device = open_patiently()?;
            worker.late = arrived(&device, before, number, LATE)?;
        }
        Ok(worker)
    }

    fn churn(&mut self) -> Result<Infallible> {
        // Open to the end; the check takes its absence for a worker that came too late for anything.
        let journal_name = session_name(self.generation, self.number, JOURNAL)?;
        let device = open_patiently()?;
        let session = self.journal.change(&[], || device.create(&journal_name))?;
        drop(device);
        if let Some(session) = &session {
            let file = rustix::io::fcntl_dupfd_cloexec(&self.journal, 3)?;
            self.journal
                .change(&[], || session.preserve(Token(0), file))?;
        }
        loop {
            match fastrand::u32(0..16) {
                0..=2 => self.create()?,
                3..=10 => self.preserve()?,
                11..=12 => self.close(),
                13 => self.fork()?,
                14 => drop(tolerate(Device::open(), &[Errno::BUSY])?),
                _ => self.finish()?,
            }
        }
    }

    fn create(&mut self) -> Result<()> {
        let name = fastrand::u32(0..NAMES);
        let Some(device) = tolerate(Device::open(), &[Errno::BUSY])? else {
            return Ok(());
        };
        let full_name = session_name(self.generation, self.number, name)?;
        let created = self.journal.create(name, || device.create(&full_name))?;
        let Some(session) = created else {
            return Ok(());
        };
        self.filling.push(Filling {
            session,
            name,
            files: 0,
        });
        Ok(())
    }

    fn preserve(&mut self) -> Result<()> {
        let (generation, number) = (self.generation, self.number);
        let Some(filling) = fastrand::choice(&mut self.filling) else {
            return Ok(());
        };
        if filling.files == MOST_FILES {
            return Ok(());
        }
        let token = u64::from(filling.files);
        let file = memfd(&content(generation, number, filling.name, token))?;
        let before = Known::present(filling.files);
        self.journal.note(
            filling.name,
            Known {
                most: filling.files + 1,
                ..before
            },
        );
        let preserved = self
            .journal
            .change(&[], || filling.session.preserve(Token(token), file));
        if preserved?.is_some() {
            filling.files += 1;
        }
        self.journal
            .note(filling.name, Known::present(filling.files));
        Ok(())
    }

    fn close(&mut self) {
        if !self.filling.is_empty() {
            let index = fastrand::usize(0..self.filling.len());
            let Filling {
                session,
                name,
                files,
            } = self.filling.swap_remove(index);
            self.journal.closing(name, files);
            drop(session);
        }
    }

    /// A process that has all our descriptors for a while, and closes them by its exit.
    fn fork(&mut self) -> Result<()> {
        let pause = Duration::from_millis(fastrand::u64(0..20));
        // SAFETY: a worker has one thread, so the child's memory is consistent and no lock is held in it.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::sleep(pause);
                // SAFETY: the call does not return, and leaves our buffers alone.
                unsafe { libc::_exit(0) };
            }
            pid if pid < 0 => Err(std::io::Error::last_os_error()).context("cannot fork"),
            _ => {
                self.journal.forked();
                Ok(())
            }
        }
    }

    /// Until every late session is finished the kernel refuses the kexec.
    fn finish(&mut self) -> Result<()> {
        if let Some(session) = self.late.take() {
            verify(&session, self.generation - 1, self.number, LATE)?;
            tolerate(session.finish(), &[])?;
        }
        Ok(())
    }
}

fn open_patiently() -> Result<Device> {
    loop {
        if let Some(device) = tolerate(Device::open(), &[Errno::BUSY])? {
            return Ok(device);
        }
        std::thread::yield_now();
    }
}
