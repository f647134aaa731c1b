// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A client for `/dev/liveupdate`, the Linux Live Update Orchestrator (LUO).
//!
//! ```no_run
//! use liveupdate::{Device, Memory, SessionName, Token};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const GUEST: Token = Token(1);
//! let memory = Memory::create("guest", 1 << 30)?;
//!
//! // In the running kernel, before reboot(LINUX_REBOOT_CMD_KEXEC):
//! let session = Device::open()?.create(&SessionName::new("vm-1")?)?;
//! session.preserve(GUEST, &memory)?; // `session` must stay open until the kexec
//!
//! // In the next kernel:
//! let session = Device::open()?.retrieve(&SessionName::new("vm-1")?)?;
//! let memory = Memory::from_file(session.retrieve(GUEST)?)?;
//! session.finish()?;
//! # Ok(()) }
//! ```
//!
//! The guide for authors of VMMs, `docs/vmm-authors.md`, says what goes over, when to do what, and what to do about each error; its
//! complete program is `crates/luod/examples/keeps-memory.rs`.
//!
//! # A short tour
//! - [`Device`] makes sessions, and gives those of the previous kernel. It is exclusive: one process at a time may have it open,
//!   and service managers use it too. So open, call, drop; sessions do not need it once they are open.
//! - [`Session`] is a group of files on their way: [`Session<Outgoing>`](Session#impl-Session<Outgoing>) takes them,
//!   [`Session<Incoming>`](Session#impl-Session<Incoming>) gives them back. Each file has a [`Token`].
//! - [`Memory`] is a file that can be preserved, mapped: guest memory, or the state beside it.
//! - [`SessionInfo`] and [`IncomingInfo`] are what our kernel shows beyond upstream's.
//! - [`Error`] is the kernel's errno, with the operation and the object.
//!
//! Under an agent such as luod a program has no business with the device: it gets its sessions from the agent, as descriptors,
//! and makes a [`Session`] of them by `From`.
//!
//! # Goals
//! One type per kernel object, the descriptor inside it owned; the errno of a failed call passed through, together with the
//! operation and the object it was about; no policy. The same on our kernel and on upstream's.
//!
//! # Not goals
//! Loading the next kernel, keeping sessions alive, naming conventions: that is the work of an agent. Async: no call waits for
//! another program. Slices of shared memory: somebody else may be writing it.

mod device;
mod error;
mod info;
mod memory;
mod name;
mod session;
pub mod uapi;

pub use device::{DEVICE_PATH, Device};
pub use error::{Error, Operation, Result};
pub use info::{FileInfo, INCOMING_PATH, IncomingInfo, SessionInfo};
pub use memory::{Memory, OutOfBounds};
pub use name::{InvalidName, SessionName, Token};
pub use rustix::io::Errno;
pub use session::{Direction, Incoming, Outgoing, Session};
