// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Load for the moment of a kexec: workers that create, preserve, close, fork, exit and finish as fast as they can, and the check,
//! in the next kernel, that what has arrived is consistent.
//!
//! A worker preserves the files of a session one after the other, under tokens that count from 0. So a session has to arrive with
//! the tokens from 0 up to some number, without a gap, each with the content that belongs to it.

use std::{
    convert::Infallible,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use liveupdate::{Device, Error, Incoming, Outgoing, Session, SessionName, Token};
use luo_guest::pattern::Content;
use rustix::{fs::MemfdFlags, io::Errno};

/// How many processes there are; the host starts them one by one.
const WORKERS: u32 = 4;
/// How many names each of them uses.
const NAMES: u32 = 6;
/// The check leaves sessions of this name to the workers of the next generation, who finish them while the kexec is asked for.
const LATE: u32 = NAMES - 1;
/// More than the files that one page of the hand-over lists.
const MOST_FILES: u64 = 70;

/// A session that a worker fills.
struct Filling {
    session: Session<Outgoing>,
    name: u32,
    files: u64,
}

struct Worker {
    generation: u32,
    number: u32,
    filling: Vec<Filling>,
    late: Option<Session<Incoming>>,
}

/// `churn GENERATION WORKER`: goes on until the kernel is replaced. What goes wrong is a warning in the kernel's log, where the
/// host sees it.
pub(crate) fn work(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (generation, number) = (number(args.next())?, number(args.next())?);
    // SAFETY: to ignore a signal runs no code of ours; children need no reaping then.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    fastrand::seed(u64::from(generation) << 32 | u64::from(number));
    let mut worker = Worker {
        generation,
        number,
        filling: Vec::new(),
        late: None,
    };
    let Err(error) = worker.churn();
    let warning = format!("<4>WARNING: churn {generation} {number}: {error:#}\n");
    fs::write("/dev/kmsg", warning).context("cannot write to /dev/kmsg")?;
    Err(error)
}

/// `churn-check GENERATION`: prints what has arrived of that generation; fails if it is not consistent.
pub(crate) fn check(mut args: impl Iterator<Item = String>) -> Result<()> {
    let generation = number(args.next())?;
    let (mut sessions, mut files) = (0, 0);
    for (worker, name) in (0..WORKERS).flat_map(|worker| (0..LATE).map(move |name| (worker, name)))
    {
        let device = Device::open()?;
        let Some(session) = arrived(&device, generation, worker, name)? else {
            continue;
        };
        drop(device);
        files += verify(&session, generation, worker, name)?;
        sessions += 1;
        // The others are finished by their closing.
        if name % 2 == 0 {
            session.finish()?;
        }
    }
    ensure!(
        sessions > 0,
        "no session of generation {generation} has arrived"
    );
    println!("{sessions} sessions with {files} files are whole");
    Ok(())
}

impl Worker {
    fn churn(&mut self) -> Result<Infallible> {
        if let Some(before) = self.generation.checked_sub(1) {
            let device = open_patiently()?;
            self.late = arrived(&device, before, self.number, LATE)?;
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
        // The name may be one of our own sessions, or one that a forked process still has.
        let created = device.create(&session_name(self.generation, self.number, name)?);
        if let Some(session) = tolerate(created, &[Errno::EXIST])? {
            self.filling.push(Filling {
                session,
                name,
                files: 0,
            });
        }
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
        let token = filling.files;
        let file = memfd(&content(generation, number, filling.name, token))?;
        if tolerate(filling.session.preserve(Token(token), file), &[])?.is_some() {
            filling.files += 1;
        }
        Ok(())
    }

    fn close(&mut self) {
        if !self.filling.is_empty() {
            let index = fastrand::usize(0..self.filling.len());
            self.filling.swap_remove(index);
        }
    }

    /// A process that has all our descriptors for a while, and closes them by its exit.
    fn fork(&self) -> Result<()> {
        let pause = Duration::from_millis(fastrand::u64(0..20));
        // SAFETY: a worker has one thread, so the child's memory is consistent and no lock is held in it.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::sleep(pause);
                // SAFETY: the call does not return, and leaves our buffers alone.
                unsafe { libc::_exit(0) };
            }
            pid if pid < 0 => Err(std::io::Error::last_os_error()).context("cannot fork"),
            _ => Ok(()),
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

/// What a call gave, or nothing if it failed with one of these, or because the kernel is being replaced.
fn tolerate<T>(result: Result<T, Error>, errnos: &[Errno]) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno == Errno::SHUTDOWN || errnos.contains(&error.errno) => Ok(None),
        Err(error) => Err(error.into()),
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

/// A session of the previous kernel, if it has arrived.
fn arrived(
    device: &Device,
    generation: u32,
    worker: u32,
    name: u32,
) -> Result<Option<Session<Incoming>>> {
    let name = session_name(generation, worker, name)?;
    tolerate(device.retrieve(&name), &[Errno::NOENT])
}

/// Compares all files of a session; gives their number.
fn verify(session: &Session<Incoming>, generation: u32, worker: u32, name: u32) -> Result<u64> {
    let mut count = 0;
    while let Some(file) = tolerate(session.retrieve(Token(count)), &[Errno::NOENT])? {
        let wanted = content(generation, worker, name, count);
        ensure!(
            read(file, wanted.len())? == wanted,
            "token {count} of session {name} of worker {worker} holds something else"
        );
        count += 1;
    }
    for later in count + 1..=MOST_FILES {
        match session.retrieve(Token(later)) {
            Err(error) if error.errno == Errno::NOENT => {}
            _ => bail!("session {name} of worker {worker} has token {later}, but not {count}"),
        }
    }
    Ok(count)
}

fn session_name(generation: u32, worker: u32, name: u32) -> Result<SessionName> {
    Ok(SessionName::new(format!(
        "churn {generation} {worker} {name}"
    ))?)
}

/// One to three pages and a little, different for every file.
fn content(generation: u32, worker: u32, name: u32, token: u64) -> Vec<u8> {
    let seed =
        ((u64::from(generation) * 64 + u64::from(worker)) * 64 + u64::from(name)) * 4096 + token;
    let size = (1 + seed % 3) * 4096 + 5;
    let mut bytes = vec![0; size as usize];
    Content::full(seed, size).read_at(0, &mut bytes);
    bytes
}

fn memfd(bytes: &[u8]) -> Result<OwnedFd> {
    let file = File::from(rustix::fs::memfd_create("churn", MemfdFlags::CLOEXEC)?);
    file.write_all_at(bytes, 0).context("cannot fill a memfd")?;
    Ok(file.into())
}

fn read(file: impl AsFd, most: usize) -> Result<Vec<u8>> {
    let file = File::from(rustix::io::fcntl_dupfd_cloexec(file, 3)?);
    let mut bytes = vec![0; most + 1];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn number(arg: Option<String>) -> Result<u32> {
    arg.context("a number is missing")?
        .parse()
        .context("not a number")
}
