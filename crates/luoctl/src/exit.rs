// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What came of a command, for scripts and for people.

use std::{fmt, process::ExitCode};

use luod::{client, kexec::LoadError};

/// The exit status. `claim ID -- COMMAND` gives that of the command instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed, or the agent refused it.
    Failed = 1,
    /// The command line is wrong. This is also clap's.
    Usage = 2,
    /// The check found problems, or the update was refused because of them.
    Problems = 3,
    /// The update was called off.
    Cancelled = 4,
    /// No agent can be reached.
    NoAgent = 5,
}

/// The same for help and manual page.
pub(crate) const EXIT_CODES: &str = "\
Exit status:
  0  done
  1  it failed, or the agent refused it
  2  the command line is wrong
  3  the check found problems, or the update was refused because of them
  4  the update was called off: by a veto, for lack of time, by a client's death, by the operator
  5  no agent can be reached
`claim ID -- COMMAND` exits as COMMAND does.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Empty if all has been said.
    pub(crate) message: String,
}

/// What a command gives.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message.to_string())
    }

    /// Says it on standard error, to people or to programs.
    pub(crate) fn tell(&self, json: bool) {
        if self.message.is_empty() {
            return;
        }
        if json {
            eprintln!("{}", self.to_json());
        } else {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}luoctl:{red:#} {}", self.message);
        }
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self.message, "exit": self.exit as u8 })
    }
}

impl From<client::Error> for Failure {
    fn from(err: client::Error) -> Self {
        use std::io::ErrorKind::PermissionDenied;
        match &err {
            client::Error::Connect { path, source } if source.kind() == PermissionDenied => {
                let path = path.display();
                Self::new(
                    Exit::NoAgent,
                    format!(
                        "this user may not connect to {path}: be root, or in the socket's group"
                    ),
                )
            }
            client::Error::Connect { .. } => Self::new(Exit::NoAgent, err.to_string()),
            _ => Self::failed(err),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(err: LoadError) -> Self {
        Self::failed(err)
    }
}

impl From<liveupdate::Error> for Failure {
    fn from(err: liveupdate::Error) -> Self {
        Self::failed(err)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(err: anyhow::Error) -> Self {
        Self::failed(format!("{err:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_why_too() {
        let failure = Failure::new(Exit::NoAgent, "say \"why\"\n");
        let told = r#"{"error":"say \"why\"\n","exit":5}"#;
        assert_eq!(failure.to_json().to_string(), told);
    }

    #[test]
    fn every_exit_code_is_documented() {
        let codes = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Problems,
            Exit::Cancelled,
            Exit::NoAgent,
        ];
        let told: Vec<_> = EXIT_CODES
            .lines()
            .filter_map(|line| line.trim().split("  ").next()?.parse::<u8>().ok())
            .collect();
        assert_eq!(told, codes.map(|code| code as u8));
    }
}
