// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What operators want to know.

use serde::{Deserialize, Serialize};

use super::{Id, Progress};

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent and its version.
    pub agent: String,
    /// The running kernel, and the next one.
    pub kernel: KernelReport,
    /// The update that is under way.
    pub update: Progress,
    /// Who is connected. Operators see all, others their own.
    pub clients: Vec<ClientReport>,
    /// What goes over to the next kernel, or came from the previous one. Operators see all, others their own.
    pub sessions: Vec<SessionReport>,
    /// Files kept for programs that know nothing of updates.
    pub kept: Vec<KeptReport>,
}

/// The running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReport {
    /// As `uname -r` gives it.
    pub release: String,
    /// Why there is no live update; nothing if there is.
    pub unsupported: Option<String>,
    /// Whether a next kernel is loaded.
    pub image_loaded: bool,
    /// What is known of it, if `luoctl load` has loaded it.
    pub image: Option<Image>,
    /// What the previous kernel has left, if this one tells.
    pub incoming: Option<Incoming>,
}

/// A kernel that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its file.
    pub kernel: String,
    /// What it says of itself: release, and who built it.
    pub version: Option<String>,
    /// Its initial ramdisk.
    pub initrd: Option<String>,
    /// Its command line.
    pub cmdline: String,
}

/// What the previous kernel has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// Sessions that nobody has retrieved and finished yet.
    pub sessions: u64,
    /// Sessions and other parts that cannot be had, each with the reason.
    pub leaked: Vec<String>,
    /// Memory that they hold until the next cold boot, in bytes.
    pub leaked_bytes: u64,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// What it has subscribed.
    pub ids: Vec<Id>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Whose it is.
    pub id: Id,
    /// Its owner.
    pub uid: u32,
    /// Where it is.
    pub state: SessionState,
    /// What is in it; nothing if this kernel does not tell.
    pub files: Option<Vec<FileReport>>,
}

/// The life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Its client preserves files in it.
    Preserving,
    /// Its client is ready.
    Ready,
    /// It came from the previous kernel, and waits to be claimed.
    Waiting,
    /// Its client has it, and has not said `DONE`.
    Claimed,
    /// It cannot be had: its client is told why.
    Unavailable,
}

/// A file in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its key in the session.
    pub token: u64,
    /// The kernel's name for how it is carried over.
    pub handler: String,
    /// Its size; nothing if this kernel, or the one that preserved it, does not tell.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// As the kernel says: preserved, waiting, retrieved …
    pub state: String,
}

/// A kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReport {
    /// Its name.
    pub name: Id,
    /// Its owner.
    pub uid: u32,
    /// Where it is. Small files beside it are kept, too.
    pub path: String,
    /// How large it is.
    pub bytes: u64,
    /// How much memory it takes.
    pub allocated_bytes: u64,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether an update now would go well.
    pub ok: bool,
    /// What stands against it, and what to know.
    pub findings: Vec<Finding>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// For programs: which check.
    pub name: String,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Good to know.
    Warning,
    /// An update would fail, or lose something.
    Problem,
}

/// The last update, by phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The kernel that was replaced.
    pub from: String,
    /// The kernel that replaced it.
    pub to: String,
    /// When the update was asked for, in seconds since 1970.
    pub started: u64,
    /// In the order of time. Only the update's clients may have something to do in the first; the others are the blackout.
    pub spans: Vec<Span>,
    /// From `READY` of the last client to the last `CLAIMED`.
    pub blackout_ms: f64,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What goes on.
    pub name: String,
    /// When it starts, from the first one's start.
    pub start_ms: f64,
    /// How long it takes.
    pub ms: f64,
}
