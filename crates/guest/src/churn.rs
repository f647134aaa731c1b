// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Load for the moment of a kexec: [workers](work) that create, preserve, close, fork, exit and finish as fast as they can, and the
//! [check](check), in the next kernel, that what has arrived is consistent.
//!
//! A worker preserves the files of a session one after the other, under tokens that count from 0. So a session has to arrive with
//! the tokens from 0 up to some number, without a gap, each with the content that belongs to it. Which sessions have to arrive,
//! and how many files in each, the worker's [journal](journal) says: what was done before the hand-over is there, what was refused or
//! done after it is not, and there is one moment for all workers that lies between the two.

mod check;
mod journal;
mod worker;

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use liveupdate::{Device, Error, Incoming, Session, SessionName, Token};
use luo_guest::pattern::Content;
use rustix::{fs::MemfdFlags, io::Errno};

pub(crate) use self::{check::check, worker::work};

/// How many processes there are; the host starts them one by one.
const WORKERS: u32 = 4;
/// How many names each of them uses.
const NAMES: u32 = 6;
/// The check leaves sessions of this name to the workers of the next generation, who finish them while the kexec is asked for.
const LATE: u32 = NAMES - 1;
/// The name of the session with the worker's journal.
const JOURNAL: u32 = NAMES;
/// More than the files that one page of the hand-over lists.
const MOST_FILES: u16 = 70;

/// What a call gave, or nothing if it failed with one of these, or because the kernel is being replaced.
fn tolerate<T>(result: Result<T, Error>, errnos: &[Errno]) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno == Errno::SHUTDOWN || errnos.contains(&error.errno) => Ok(None),
        Err(error) => Err(error.into()),
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
    for later in count + 1..=MOST_FILES.into() {
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
