// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What can be corrupted: every field of every structure of a handover, and whose it is.

use std::collections::BTreeSet;

use serde::Serialize;

use super::stage::Moment;

/// The structures of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// KHO's device tree, where everything is found.
    KhoFdt,
    /// A table of KHO's tree of preserved memory.
    KhoTable,
    /// A bitmap at the bottom of that tree.
    KhoBitmap,
    /// Where everything of LUO's begins.
    Root,
    /// The page of FLBs: its header and entries.
    FlbPage,
    /// The head of a block of sessions.
    SessionBlock,
    /// An entry of a block of sessions.
    Session,
    /// The head of a block of files.
    FileBlock,
    /// An entry of a block of files, but for what its handler reads.
    File,
    /// The test handler's number in the entry of a file.
    ProbeData,
    /// What the handler of memfds reads: its handle in the entry of a file, and all behind it.
    Memfd,
}

impl Structure {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 11] = [
        Self::KhoFdt,
        Self::KhoTable,
        Self::KhoBitmap,
        Self::Root,
        Self::FlbPage,
        Self::SessionBlock,
        Self::Session,
        Self::FileBlock,
        Self::File,
        Self::ProbeData,
        Self::Memfd,
    ];

    /// Whether KHO reads it.
    pub const fn is_khos(self) -> bool {
        matches!(self, Self::KhoFdt | Self::KhoTable | Self::KhoBitmap)
    }

    /// Whether LUO reads it, rather than KHO or a handler.
    pub const fn is_luos(self) -> bool {
        !self.is_khos() && !matches!(self, Self::ProbeData | Self::Memfd)
    }

    /// When it is read: what is read at boot has to be corrupted before.
    pub const fn moment(self) -> Moment {
        match self {
            Self::KhoFdt | Self::KhoTable | Self::KhoBitmap => Moment::First,
            Self::Root | Self::FlbPage => Moment::Early,
            _ => Moment::Late,
        }
    }

    /// Its name in tables and in the names of cases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KhoFdt => "kho-fdt",
            Self::KhoTable => "kho-table",
            Self::KhoBitmap => "kho-bitmap",
            Self::Root => "root",
            Self::FlbPage => "flb-page",
            Self::SessionBlock => "session-block",
            Self::Session => "session",
            Self::FileBlock => "file-block",
            Self::File => "file",
            Self::ProbeData => "probe-data",
            Self::Memfd => "memfd",
        }
    }
}

/// What a field means: decides which values are hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The address of a page.
    Address,
    /// The number of a page, below twelve bits of flags.
    Frame,
    /// How many there are; at most so many fit.
    Count(u64),
    /// Any number.
    Number,
    /// A name of sessions.
    Name,
    /// The name of a file handler.
    Handler,
    /// The name of an FLB.
    Flb,
    /// The format's version.
    Version,
}

/// Whose a structure or a field is: who may suffer from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concern {
    /// Everybody's.
    All,
    /// These sessions', by number.
    Sessions(BTreeSet<usize>),
}

impl Concern {
    pub(super) fn of(session: usize) -> Self {
        Self::Sessions([session].into())
    }

    pub(super) fn nobody() -> Self {
        Self::Sessions(BTreeSet::new())
    }

    pub(super) fn includes(&self, session: usize) -> bool {
        match self {
            Self::All => true,
            Self::Sessions(sessions) => sessions.contains(&session),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Sessions(ours), Self::Sessions(theirs)) => ours.extend(theirs),
        }
    }
}

/// What a file shows when a field of it has another value: the value itself. Nobody can tell that it is not the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Says {
    pub session: usize,
    pub token: u64,
    /// The property, as [`Difference::what`](luo_guest::proto::survey::Difference) has it, or [`CONTENTS`].
    pub what: &'static str,
}

/// Says which bytes are where in a file, or whether they count.
pub(super) const CONTENTS: &str = "contents";

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub structure: Structure,
    /// Which of the structures, and which of its fields.
    pub name: String,
    pub kind: Kind,
    /// Its physical address, and the bytes there.
    pub at: u64,
    pub bytes: Vec<u8>,
    pub concern: Concern,
    pub says: Option<Says>,
    /// Gets all hostile values; others are like it, and are reached by random flips.
    pub enumerated: bool,
}

impl Field {
    /// The value of a number.
    pub(super) fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        let length = self.bytes.len().min(8);
        bytes[..length].copy_from_slice(&self.bytes[..length]);
        u64::from_le_bytes(bytes)
    }
}

/// A page of a handover, to point at by mistake.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub name: String,
    pub at: u64,
    pub concern: Concern,
    /// Every address is made to point here; what is of the same kind is not tried.
    pub is_landmark: bool,
}
