// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What can be seen from outside.

use crate::{Handler, Session, Token};
use std::collections::BTreeMap;

/// What `fdinfo` says about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Outgoing: takes files.
    Open,
    /// Outgoing: the next kernel's.
    HandedOver,
    /// Incoming: gives files.
    Retrieved,
    /// Incoming: empty.
    Finished,
}

/// What `fdinfo` says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// For the next kernel.
    Preserved,
    /// The next kernel's.
    HandedOver,
    /// From the previous kernel.
    Waiting,
    /// Lost: its handler could not make it anew.
    Failed,
    /// Made anew, and nobody has a descriptor.
    Restored,
    /// Somebody has, or had, a descriptor.
    Retrieved,
}

/// A session that a process has a descriptor of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// How far it has come.
    pub state: SessionState,
    /// Its files, in the order of their preservation.
    pub files: Vec<(Token, Handler, FileState)>,
}

/// What can be seen of a machine from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The sessions that there are descriptors of.
    pub sessions: BTreeMap<Session, SessionView>,
    /// How often each handler's module is held.
    pub handler_refs: [usize; 2],
    /// How many handles of each handler nobody has given up or finished.
    pub nr_handles: [usize; 2],
    /// How often each FLB's module is held.
    pub flb_refs: [usize; 2],
    /// Which FLBs of the previous kernel are finished.
    pub finished_flbs: [bool; 2],
    /// How many pages are in use, by LUO, handlers and files.
    pub nr_pages: usize,
}
