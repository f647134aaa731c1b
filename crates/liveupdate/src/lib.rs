// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A client for `/dev/liveupdate`, the Linux Live Update Orchestrator (LUO).
//!
//! ```no_run
//! use liveupdate::{Device, SessionName, Token};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let memory = std::fs::File::open("/dev/null")?;
//! // In the running kernel, before reboot(LINUX_REBOOT_CMD_KEXEC):
//! let session = Device::open()?.create(&SessionName::new("cache")?)?;
//! session.preserve(Token(1), &memory)?; // `session` must stay open until the kexec
//!
//! // In the next kernel:
//! let session = Device::open()?.retrieve(&SessionName::new("cache")?)?;
//! let memory = session.retrieve(Token(1))?;
//! session.finish()?;
//! # Ok(()) }
//! ```
//!
//! # Goals
//! One type per kernel object, the descriptor inside it owned; the errno of a failed call passed through, together with the
//! operation and the object it was about; no policy.
//!
//! # Not goals
//! Loading the next kernel, keeping sessions alive, naming conventions: that is the work of an agent.
//!
//! # The device is exclusive
//! One process at a time may have `/dev/liveupdate` open, and service managers use it too: open, call, drop. Sessions do not
//! need the device once they are open.

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
pub use session::{Direction, Incoming, Outgoing, Session};
