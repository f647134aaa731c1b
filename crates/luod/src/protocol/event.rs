// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the agent says.

use serde::{Deserialize, Serialize};

use super::{Check, Id, Status, Timeline};

/// A line from the agent: `{"event": "CLAIMED", "id": "vm-1"}`. Clients ignore events and fields that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Event {
    /// The answer to `HELLO`.
    Hello {
        /// The version that both speak.
        version: u32,
        /// The agent and its version.
        agent: String,
    },
    /// The answer to `SUBSCRIBE`.
    Subscribed {
        /// The id.
        id: Id,
    },
    /// The answer to `UNSUBSCRIBE`.
    Unsubscribed {
        /// The id.
        id: Id,
    },
    /// An update begins; the session comes with this line. Preserve everything in it and say `READY`, or `VETO`.
    #[serde(alias = "PRESERVATION_REQUEST")]
    StartPreservation {
        /// Whose session it is.
        id: Id,
        /// From now; afterwards the update is called off.
        deadline_ms: u64,
    },
    /// There is no update: close the session and go on. Everything is as it was.
    Cancelled {
        /// Whose session it was.
        id: Id,
        /// Why.
        reason: String,
    },
    /// The answer to `CLAIM`; the session comes with this line.
    Claimed {
        /// Whose session it is.
        id: Id,
    },
    /// The answer to `DONE`, `DISCARD` and `KEEP_REMOVE`.
    Done {
        /// What is gone.
        id: Id,
    },
    /// The command was not carried out. Nothing has changed.
    Error {
        /// Which, if it could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cmd: Option<String>,
        /// For programs.
        code: Code,
        /// For people: what is wrong with what, and the way out.
        message: String,
    },
    /// The answer to `STATUS`.
    Status(Box<Status>),
    /// The answer to `CHECK`.
    Check(Check),
    /// To whoever asked for an `UPDATE` or to `WATCH`: how far it is.
    Progress(Progress),
    /// To whoever asked for an `UPDATE` or to `WATCH`: there is no more to come.
    Ended {
        /// What came of it.
        outcome: Ended,
        /// Why, if the kernel is still the old one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The answer to `KEEP_ADD`.
    Kept {
        /// The file's name.
        name: Id,
        /// Where it is.
        path: String,
    },
    /// The answer to `TIMELINE`.
    Timeline(Timeline),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line is no JSON object, not UTF-8, or too long. The connection ends.
    BadLine,
    /// There is no such command, or a field of it is missing or wrong.
    BadCommand,
    /// It belongs to another user, or is for operators only.
    NotAllowed,
    /// There is nothing of that name.
    NotFound,
    /// The name is taken.
    Exists,
    /// Not in this state: no update is under way, or one is.
    WrongState,
    /// There are too many of something.
    Limit,
    /// The kernel refused.
    Kernel,
}

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The kernel is being replaced: the connection is about to break.
    Rebooting,
    /// Everybody was ready, and was told to go on: what a dry run is for.
    Rehearsed,
    /// The check found that something would be lost. Nothing was begun.
    Refused,
    /// Called off: by the operator, a veto, a death, or for lack of time.
    Cancelled,
    /// The kernel refused to be replaced. Everybody was told to go on.
    Failed,
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No update is under way.
    Idle,
    /// Clients preserve what is theirs.
    Preserving,
    /// Everybody is ready; the agent writes down who owns what, and goes.
    Leaving,
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// Who is not ready.
    pub waiting: Vec<Id>,
    /// Who is.
    pub ready: Vec<Id>,
    /// What the clients have left.
    pub left_ms: u64,
}

impl Event {
    /// As they stand in `event`; that which begins an update has two. Any other is of a later version.
    pub const NAMES: [&str; 15] = [
        "HELLO",
        "SUBSCRIBED",
        "UNSUBSCRIBED",
        "PRESERVATION_REQUEST",
        "START_PRESERVATION",
        "CANCELLED",
        "CLAIMED",
        "DONE",
        "ERROR",
        "STATUS",
        "CHECK",
        "PROGRESS",
        "ENDED",
        "KEPT",
        "TIMELINE",
    ];

    /// A refusal.
    pub fn error(cmd: Option<&str>, code: Code, message: impl Into<String>) -> Self {
        Self::Error {
            cmd: cmd.map(str::to_owned),
            code,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_all_that_there_are() {
        // Serde lists them when it is given one that it does not know.
        let err = serde_json::from_str::<Event>(r#"{"event":"?"}"#).unwrap_err();
        let listed = err.to_string();
        let listed: Vec<_> = listed.split('`').skip(3).step_by(2).collect();
        assert_eq!(listed, Event::NAMES);
    }

    #[test]
    fn an_update_begins_under_either_published_name() {
        let published = r#"{"event":"PRESERVATION_REQUEST","id":"a","deadline_ms":5}"#;
        let event: Event = serde_json::from_str(published).unwrap();
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(
            line,
            r#"{"event":"START_PRESERVATION","id":"a","deadline_ms":5}"#
        );
    }
}
