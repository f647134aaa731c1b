// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent for live updates, and what its clients need to speak with it.
//!
//! [`protocol`] is what goes over the socket, as types; `docs/protocol.md` is the same for people. [`wire`] cuts the stream
//! into lines and carries descriptors. [`client`] is a connection for programs that wait for their answers.

pub mod agent;
pub mod client;
pub mod clock;
pub mod keep;
pub mod kernel;
pub mod kexec;
pub mod kill_point;
pub mod manifest;
pub mod policy;
pub mod protocol;
pub mod server;
pub mod stderr;
pub mod vault;
pub mod wire;
