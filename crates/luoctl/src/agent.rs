// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Asking the agent.

use std::path::{Path, PathBuf};

use luod::{
    client::{Client, Received},
    protocol::{Command, Event, Status},
};

use crate::exit::{Exit, Failure, Result};

/// Where the agent is.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
}

impl Agent {
    pub(crate) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Connects. Whatever keeps the agent from answering at all counts as its absence.
    pub(crate) fn connect(&self) -> Result<Client> {
        Client::connect(&self.socket).map_err(|err| Failure {
            exit: Exit::NoAgent,
            ..err.into()
        })
    }

    /// One question on a connection of its own.
    pub(crate) fn ask(&self, command: &Command) -> Result<Received> {
        Ok(self.connect()?.ask(command)?)
    }

    pub(crate) fn status(&self) -> Result<Status> {
        let command = Command::Status;
        match self.ask(&command)? {
            (Event::Status(status), _) => Ok(*status),
            (other, _) => Err(unexpected(&command, &other)),
        }
    }
}

/// The agent answers something else than what it was asked.
pub(crate) fn unexpected(command: &Command, event: &Event) -> Failure {
    let event = serde_json::to_string(event).unwrap_or_default();
    let name = command.name();
    Failure::failed(format!(
        "the agent answers {name} with {event}: are luod and luoctl of the same version?"
    ))
}
