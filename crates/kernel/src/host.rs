// SPDX-License-Identifier: GPL-2.0-only

//! A simulated machine, seen from outside: its tasks, their memory and descriptors, the log, the
//! physical pages, and the kexec.
//!
//! Every thread has a machine of its own, from its first use of this crate on.

pub(crate) mod arena;
pub(crate) mod fd;
pub(crate) mod machine;
pub mod memfd;
pub mod ram;
pub mod shmem;
pub mod user;

pub use self::{
    fd::{as_process, close, close_on_exec, exit, fdinfo, ioctl, limit_descriptors, link, open},
    machine::{
        Image, console, fail_allocation, fail_copy, kexec, kill, load_image, pages_in_use, peek,
        poke, published,
    },
};
pub use crate::backend::*;
