// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the agent is asked for.

use serde::{Deserialize, Serialize};

use super::Id;

/// A line to the agent: `{"cmd": "SUBSCRIBE", "id": "vm-1"}`. Fields that it does not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Command {
    /// Agrees on a version. From here on every command is answered; before, only what the published protocol answers is.
    Hello {
        /// The newest that the client knows.
        version: u32,
    },
    /// Wants to take part in updates, under this id.
    Subscribe {
        /// Nobody else's.
        id: Id,
    },
    /// Takes part no more.
    Unsubscribe {
        /// One of this connection's.
        id: Id,
    },
    /// All that is to be carried over is in the session.
    Ready {
        /// May be left out by a connection with one id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<Id>,
    },
    /// Cannot be updated now; calls the update off for all.
    Veto {
        /// May be left out by a connection with one id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<Id>,
        /// For the operator.
        reason: String,
    },
    /// Wants its session back after an update. May be repeated until it is done.
    Claim {
        /// The id under which it was carried over.
        id: Id,
    },
    /// Has everything out of the session, and has finished it.
    Done {
        /// The id that it claimed.
        id: Id,
    },
    /// What is there: [`Status`](super::Status).
    Status,

    /// For operators: whether an update now would lose something.
    Check,
    /// For operators: replaces the kernel once everybody is ready.
    Update {
        /// How long the clients have; the agent's own default otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// Stops before the reboot, and calls the update off.
        #[serde(default)]
        dry_run: bool,
        /// Goes on although the check has found that something would be lost.
        #[serde(default)]
        force: bool,
    },
    /// For operators: calls the update off.
    Cancel,
    /// For operators: gives up what was carried over and nobody wants.
    Discard {
        /// Its id.
        id: Id,
    },
    /// Keeps a file in memory over updates, for programs that know nothing of them.
    KeepAdd {
        /// Its name, and that of its folder.
        name: Id,
        /// How large it is; it takes memory only where it is written.
        bytes: u64,
        /// Whose it is; the caller's if left out. Others than the caller are for operators.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<u32>,
        /// Whether its content is compared with a checksum after the update.
        #[serde(default)]
        checksum: bool,
    },
    /// Gives such a file up, with its content.
    KeepRemove {
        /// Its name.
        name: Id,
    },
    /// What the last update took, by phases.
    Timeline,
    /// Wants to hear of everything that changes: [`Progress`](super::Progress) as it comes.
    Watch,
}

impl Command {
    /// As it stands in `cmd`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "HELLO",
            Self::Subscribe { .. } => "SUBSCRIBE",
            Self::Unsubscribe { .. } => "UNSUBSCRIBE",
            Self::Ready { .. } => "READY",
            Self::Veto { .. } => "VETO",
            Self::Claim { .. } => "CLAIM",
            Self::Done { .. } => "DONE",
            Self::Status => "STATUS",
            Self::Check => "CHECK",
            Self::Update { .. } => "UPDATE",
            Self::Cancel => "CANCEL",
            Self::Discard { .. } => "DISCARD",
            Self::KeepAdd { .. } => "KEEP_ADD",
            Self::KeepRemove { .. } => "KEEP_REMOVE",
            Self::Timeline => "TIMELINE",
            Self::Watch => "WATCH",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, serde_json::Error> {
        serde_json::from_str(line)
    }

    #[test]
    fn the_published_commands_are_understood_as_they_are_published() {
        let id = Id::new("unique-id").unwrap();
        let subscribe = parse(r#"{"cmd": "SUBSCRIBE", "id": "unique-id"}"#).unwrap();
        assert_eq!(subscribe, Command::Subscribe { id: id.clone() });
        let ready = parse(r#"{"cmd": "READY"}"#).unwrap();
        assert_eq!(ready, Command::Ready { id: None });
        let claim = parse(r#"{"cmd": "CLAIM", "id": "unique-id"}"#).unwrap();
        assert_eq!(claim, Command::Claim { id });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |line| parse(line).unwrap_err().to_string();
        assert!(message(r#"{"cmd":"FLY"}"#).contains("FLY"));
        assert!(message(r#"{"cmd":"CLAIM"}"#).contains("id"));
        assert!(message(r#"{"cmd":"CLAIM","id":"a/b"}"#).contains('/'));
        assert!(message(r#"{"cmd":"CLAIM","id":"systemd"}"#).contains("reserved"));
    }

    #[test]
    fn fields_of_later_versions_are_ignored() {
        let status = parse(r#"{"cmd":"STATUS","verbose":true}"#).unwrap();
        assert_eq!(status, Command::Status);
    }

    #[test]
    fn the_name_is_what_stands_in_the_line() {
        let id = || Id::new("x").unwrap();
        let all = [
            Command::Hello { version: 1 },
            Command::Subscribe { id: id() },
            Command::Unsubscribe { id: id() },
            Command::Ready { id: None },
            Command::Veto {
                id: None,
                reason: String::new(),
            },
            Command::Claim { id: id() },
            Command::Done { id: id() },
            Command::Status,
            Command::Check,
            Command::Update {
                timeout_ms: None,
                dry_run: false,
                force: false,
            },
            Command::Cancel,
            Command::Discard { id: id() },
            Command::KeepAdd {
                name: id(),
                bytes: 1,
                owner: None,
                checksum: false,
            },
            Command::KeepRemove { name: id() },
            Command::Timeline,
            Command::Watch,
        ];
        for command in all {
            let line = serde_json::to_value(&command).unwrap();
            assert_eq!(line["cmd"], command.name());
            assert_eq!(serde_json::from_value::<Command>(line).unwrap(), command);
        }
    }
}
