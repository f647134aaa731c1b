// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A connection to the agent, for programs that wait for their answers.
//!
//! ```no_run
//! use luod::{client::Client, protocol::{Command, Event, Id, SOCKET_PATH}};
//! use liveupdate::{Outgoing, Session, Token};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let guest_memory = std::fs::File::open("/dev/null")?;
//! let id = Id::new("vm-1")?;
//! let mut agent = Client::connect(SOCKET_PATH.as_ref())?;
//! agent.ask(&Command::Subscribe { id: id.clone() })?;
//! let (event, fd) = agent.next(None)?; // waits for an operator to start an update
//! if let (Event::StartPreservation { .. }, Some(fd)) = (event, fd) {
//!     let session = Session::<Outgoing>::from(fd);
//!     session.preserve(Token(0), &guest_memory)?;
//!     agent.send(&Command::Ready { id: Some(id) })?;
//! }
//! # Ok(()) }
//! ```

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    time::Timespec,
};

use serde_json::Value;

use crate::{
    protocol::{Code, Command, Event, VERSION},
    wire::{Lines, Outbox, Read},
};

/// Why a conversation went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("cannot connect to {}: {source} (is luod running?)", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(#[from] io::Error),
    /// The agent ended it.
    #[error("the agent closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("the agent has not answered in {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The line cannot be understood.
    #[error("the agent sent what this program does not understand: {0}")]
    Garbled(String),
    /// The agent refused.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: Code,
        /// For people.
        message: String,
    },
}

/// An event, and the descriptor that came with it.
pub type Received = (Event, Option<OwnedFd>);

/// A connection. The agent has agreed on the version.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    lines: Lines,
}

/// How long the agent may take for an answer that does not depend on others.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Connects and says `HELLO`.
    ///
    /// # Errors
    /// Nobody listens at `path`, or the agent speaks no version in common.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let socket = UnixStream::connect(path).map_err(|source| Error::Connect {
            path: path.to_owned(),
            source,
        })?;
        let mut client = Self {
            socket,
            lines: Lines::default(),
        };
        client.ask(&Command::Hello { version: VERSION })?;
        Ok(client)
    }

    /// Sends a command, and waits for no answer.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&self, command: &Command) -> Result<(), Error> {
        let text = serde_json::to_vec(command).expect("commands are JSON");
        let mut outbox = Outbox::default();
        outbox.push(text, None);
        outbox
            .send(&self.socket)
            .map_err(|errno| Error::Broken(errno.into()))
    }

    /// Sends a command, and gives the next event.
    ///
    /// # Errors
    /// [`Error::Refused`], or the connection broke.
    pub fn ask(&mut self, command: &Command) -> Result<Received, Error> {
        self.send(command)?;
        self.next(Some(ANSWER_TIMEOUT))
    }

    /// Waits for the next event, for ever if `timeout` is none.
    ///
    /// # Errors
    /// [`Error::Refused`] for an event that says so, [`Error::Silent`], or the connection broke.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Received, Error> {
        let deadline = timeout.map(|it| (Instant::now() + it, it));
        loop {
            let line = self
                .lines
                .pop()
                .map_err(|err| Error::Garbled(err.to_string()))?;
            if let Some(line) = line {
                let garbled = |err: serde_json::Error| {
                    Error::Garbled(format!("{err} in {}", String::from_utf8_lossy(&line.text)))
                };
                let event: Value = serde_json::from_slice(&line.text).map_err(garbled)?;
                let name = event["event"].as_str();
                if name.is_some_and(|it| !Event::NAMES.contains(&it)) {
                    continue;
                }
                match serde_json::from_value(event).map_err(garbled)? {
                    Event::Error { code, message, .. } => {
                        return Err(Error::Refused { code, message });
                    }
                    event => return Ok((event, line.fds.into_iter().next())),
                }
            }
            self.wait(deadline)?;
            match self.lines.read(&self.socket) {
                Ok(Read::Some { .. }) | Err(Errno::AGAIN) => {}
                Ok(Read::End) => return Err(Error::Closed),
                Err(errno) => return Err(Error::Broken(errno.into())),
            }
        }
    }

    fn wait(&self, deadline: Option<(Instant, Duration)>) -> Result<(), Error> {
        let left = deadline.map(|(at, _)| at.saturating_duration_since(Instant::now()));
        let left = left.map(|it| Timespec::try_from(it).expect("timeouts are short"));
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        match (poll(&mut fds, left.as_ref()), deadline) {
            (Ok(0), Some((_, timeout))) => Err(Error::Silent(timeout)),
            (Ok(_) | Err(Errno::INTR), _) => Ok(()),
            (Err(errno), _) => Err(Error::Broken(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let mut client = Client {
            socket: ours,
            lines: Lines::default(),
        };
        let said = b"{\"event\":\"SUNRISE\",\"at\":6}\n{\"event\":\"CLAIMED\",\"id\":\"a\"}\n{\"event\":\"CLAIMED\"}\n";
        agent.write_all(said).unwrap();
        let (event, _) = client.next(None).unwrap();
        assert!(matches!(event, Event::Claimed { .. }), "{event:?}");
        assert!(matches!(client.next(None), Err(Error::Garbled(_))));
    }
}
