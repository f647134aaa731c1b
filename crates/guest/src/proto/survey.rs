// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A whole handover in one request: made and preserved before the kexec; fetched, compared and finished after it.

use serde::{Deserialize, Serialize};

use super::MemfdSpec;

/// What a session should bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// The session's name.
    pub name: String,
    /// Its files.
    pub files: Vec<(u64, Held)>,
}

/// What a preserved file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// A memfd of one page, with the content of this seed.
    Page(u64),
    /// Any memfd.
    Memfd(MemfdSpec),
    /// A file of the test handler, with this value.
    Probe(u64),
}

/// What of a handover is not as it should be; nothing if all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// In the order in which they were noticed.
    pub deviations: Vec<Deviation>,
}

/// Something is not as it should be. Sessions are numbered in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deviation {
    /// The device cannot be opened.
    Device { errno: i32 },
    /// The object of the test handler's FLB cannot be had.
    Flb { errno: i32 },
    /// A session cannot be retrieved.
    Session { session: usize, errno: i32 },
    /// A file cannot be retrieved.
    File {
        session: usize,
        token: u64,
        errno: i32,
    },
    /// A file is there, and is not what it was.
    Differs {
        session: usize,
        token: u64,
        difference: Difference,
    },
    /// A file was right when it was retrieved, and is not after all sessions are finished.
    Changed {
        session: usize,
        token: u64,
        difference: Difference,
    },
    /// A session cannot be finished.
    Finish { session: usize, errno: i32 },
    /// Sessions can no longer be made for the next kernel.
    Outgoing { errno: i32, message: String },
}

/// How a file differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The property that differs, as a noun.
    pub what: String,
    /// What it is.
    pub found: u64,
    /// What it should be.
    pub wanted: u64,
}

impl Difference {
    /// A difference.
    pub fn new(what: impl Into<String>, found: u64, wanted: u64) -> Self {
        Self {
            what: what.into(),
            found,
            wanted,
        }
    }
}
