// SPDX-License-Identifier: GPL-2.0-only

//! Kexec handover (KHO) while the kernel boots: what the previous kernel preserved is found, checked
//! and kept apart, in time linear in what there is.
//!
//! The previous kernel leaves a radix tree of extents. Each extent is marked in the struct page of
//! its first page, by which it is claimed later. memblock is told of whole blocks of memory around
//! extents, in few ranges; what in them is not preserved goes to the allocator once memblock has
//! handed over.
//!
//! # Principles
//!
//! - No address or number of the previous kernel is used before it is checked: nodes and extents lie
//!   in memory that nobody has. How long the walk takes depends on how much memory there is, not on
//!   what is in the tree.
//! - What is wrong cannot be claimed. What two extents claim is kept from everybody.
//!
//! # Modules
//!
//! `key` is arithmetic; `walk`, `restore` and `scratch` have no unsafe code. `capi` connects them to
//! the kernel.

#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/capi.rs"]
mod capi;
#[path = "kho/key.rs"]
pub mod key;
#[path = "kho/restore.rs"]
pub mod restore;
#[path = "kho/scratch.rs"]
pub mod scratch;
#[path = "kho/walk.rs"]
mod walk;

#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
const __LOG_PREFIX: &[u8] = b"kho\0";
