// SPDX-License-Identifier: GPL-2.0-only

//! The parts of Linux's `kernel` crate that the Live Update Orchestrator (LUO) calls, in user
//! space. Names and contracts are those of `rust/kernel/` in Linux and in the overlay: what is
//! fallible there is fallible here, what is pinned there is pinned here.
//!
//! What belongs to a running kernel (memory, descriptors, devices, even statics: see
//! [`sync::SetOnce`]) belongs to a simulated machine here. Each thread has one of its own, so that
//! tests run side by side. [`host`] is the machine seen from outside.

pub mod alloc;
mod backend;
pub mod error;
pub mod folio;
pub mod fs;
pub mod host;
pub mod kho;
pub mod liveupdate;
pub mod prelude;
pub mod print;
pub mod rbtree;
pub mod seq_file;
pub mod shmem;
pub mod sync;
pub mod uaccess;

/// Formatting, as `core` has it.
pub mod fmt {
    pub use core::fmt::*;
}
