// SPDX-License-Identifier: GPL-2.0-only

//! Kexec handover (KHO): memory that the next kernel finds as this one left it.
//!
//! A kernel preserves extents of pages, and blobs that say what they are. The next one is loaded into *scratch memory*,
//! where nothing is preserved, and boots there. It finds the extents in a radix tree, and marks each in the struct page
//! of its first page, by which it is claimed later. memblock is told of whole blocks of memory around extents, in few
//! ranges; what in them is not preserved goes to the allocator once memblock has handed over. That takes time linear in
//! what there is.
//!
//! # Principles
//!
//! - No address or number of the previous kernel is used before it is checked: nodes and extents lie
//!   in memory that nobody has. How long the walk takes depends on how much memory there is, not on
//!   what is in the tree.
//! - What is wrong cannot be claimed. What two extents claim is kept from everybody. What is claimed and cannot be used
//!   can be claimed again.
//! - A page is preserved once, by one owner.
//!
//! # Modules
//!
//! `key` is arithmetic; `walk`, `restore`, `scratch`, `extents`, `claim`, `chain` and `areas` have no unsafe code, and
//! are built for user space, too. `outgoing` and `incoming` are what two kernels tell each other, `vmalloc` areas of it, `show` is
//! debugfs, `init` the steps of the boot. `capi` and `capi_boot` connect all that to the kernel.

#[path = "kho/areas.rs"]
pub mod areas;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/capi.rs"]
mod capi;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/capi_boot.rs"]
mod capi_boot;
#[path = "kho/chain.rs"]
pub mod chain;
#[path = "kho/claim.rs"]
pub mod claim;
#[path = "kho/extents.rs"]
pub mod extents;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/incoming.rs"]
mod incoming;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/init.rs"]
mod init;
#[path = "kho/key.rs"]
pub mod key;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/outgoing.rs"]
mod outgoing;
#[path = "kho/restore.rs"]
pub mod restore;
#[path = "kho/scratch.rs"]
pub mod scratch;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/show.rs"]
mod show;
#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
#[path = "kho/vmalloc.rs"]
mod vmalloc;
#[path = "kho/walk.rs"]
mod walk;

#[cfg(CONFIG_KEXEC_HANDOVER_RUST)]
const __LOG_PREFIX: &[u8] = b"kho\0";
