// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What clients and operators say to the agent, and what it answers: a JSON object on a line of its own, either way.
//!
//! The commands `SUBSCRIBE`, `READY` and `CLAIM` and the events `START_PRESERVATION` and `CLAIMED` are those of Google's
//! luo-agent; a client that knows no others is served. The rest is ours, and starts with `HELLO`.

mod command;
mod event;
mod id;
mod report;

pub use command::Command;
pub use event::{Code, Ended, Event, Phase, Progress};
pub use id::{Id, InvalidId, RESERVED};
pub use report::{
    Check, ClientReport, FileReport, Finding, Image, Incoming, KeptReport, KernelReport,
    SessionReport, SessionState, Severity, Span, Status, Timeline,
};

/// The version of the protocol that `HELLO` agrees on.
pub const VERSION: u32 = 1;
/// Where the agent listens.
pub const SOCKET_PATH: &str = "/run/luod/liveupdate.sock";
/// The longest line, its end included, that either side accepts.
pub const MAX_LINE_BYTES: usize = 64 << 10;
