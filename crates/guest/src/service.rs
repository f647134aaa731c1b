// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A client of luod, as a service would be: it holds memory files, preserves them when it is asked to, and claims them from the
//! next kernel, where it compares every byte.
//!
//! What it does is a line of its output each, for the host to wait for. A connection that breaks is made again: luod may be
//! killed at any moment.

mod claim;
mod files;
mod join;
mod words;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use luod::{
    client::{Client, Error},
    protocol::{Code, Id, SOCKET_PATH},
};

pub(crate) use self::{files::Files, words::Words};

/// How long luod may be away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// `service ID [claim=GENERATION] [join=GENERATION] [answer=ANSWER] [files=N] [kib=N] [socket=PATH]`: first claims what an earlier
/// generation has left, then takes part in updates until it is killed.
#[derive(Debug)]
struct Service {
    id: Id,
    socket: PathBuf,
    files: u64,
    bytes: u64,
}

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let id = Id::new(args.next().context("a service needs an id")?)?;
    let words = Words::parse(args)?;
    let service = Service {
        id,
        socket: words.socket(),
        files: words.number("files")?.unwrap_or(2),
        bytes: words.number("kib")?.unwrap_or(64) << 10,
    };
    if let Some(generation) = words.number("claim")? {
        claim::run(&service, generation)?;
    }
    if let Some(generation) = words.number("join")? {
        let answer = words.get("answer").unwrap_or("ready").parse()?;
        join::run(&service, generation, answer)?;
    }
    Ok(())
}

impl Service {
    fn files(&self, generation: u64) -> Files {
        Files {
            owner: self.id.to_string(),
            generation,
            count: self.files,
            bytes: self.bytes,
        }
    }
}

impl Words {
    pub(crate) fn socket(&self) -> PathBuf {
        self.get("socket").unwrap_or(SOCKET_PATH).into()
    }
}

/// Does something on a connection, and on a new one if that breaks, or if somebody whose connection has just broken is still in
/// the way.
pub(crate) fn persist<T>(
    socket: &Path,
    mut attempt: impl FnMut(&mut Client) -> Result<T, Error>,
) -> Result<(Client, T), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut tried = || {
            let mut agent = Client::connect(socket)?;
            let done = attempt(&mut agent)?;
            Ok((agent, done))
        };
        let error = match tried() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let passes = match &error {
            Error::Connect { .. } | Error::Broken(_) | Error::Closed => true,
            Error::Refused { code, .. } => *code == Code::WrongState,
            Error::Silent(_) | Error::Garbled(_) => false,
        };
        if !passes || Instant::now() > deadline {
            return Err(error);
        }
        thread::sleep(PAUSE);
    }
}
