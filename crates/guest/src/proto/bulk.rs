// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Operations in bulk.

use serde::{Deserialize, Serialize};

/// Many operations of one kind. A *group* is a list of descriptors under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bulk {
    /// `CREATE_SESSION` x `count`, names `prefix` + number.
    Create {
        device: String,
        prefix: String,
        first: u32,
        count: u32,
        group: String,
    },
    /// `RETRIEVE_SESSION` x `count`, in the order of `order`.
    Retrieve {
        device: String,
        prefix: String,
        first: u32,
        count: u32,
        group: String,
    },
    /// Makes `count` memfds of one page.
    Memfds { count: u32, group: String },
    /// `PRESERVE_FD` of each of the group, tokens counting from 0.
    PreserveFds { session: String, group: String },
    /// Preserves the group in some sessions, and closes them again: pages that KHO cannot preserve where they are have moved then.
    PreserveForNow { device: String, group: String },
    /// `RETRIEVE_FD` of tokens 0 to `count`.
    RetrieveFds {
        session: String,
        count: u32,
        group: String,
    },
    /// Compares each of the group with what [`Bulk::Memfds`] made.
    VerifyMemfds { group: String },
    /// `FINISH` of each session.
    Finish { group: String },
    /// Closes each.
    Close { group: String },
}
