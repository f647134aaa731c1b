// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The project's tasks, one module each, and what they share.
//!
//! `cargo xtask` is the only entry point: what continuous integration runs is a command that a person runs too.

pub mod cache;
pub mod cargo;
pub mod debian;
pub mod digest;
pub mod kernel;
pub mod repo;
pub mod run;
pub mod setup;
pub mod soak;
pub mod systemd;
pub mod task;
pub mod tidy;
pub mod ui;
