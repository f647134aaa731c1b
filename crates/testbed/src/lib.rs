// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The test bed: boots real kernels in QEMU, replaces them by kexec, and checks what came through.
//!
//! - [`image`] builds initial ramdisks; [`machine`] runs QEMU, keeps the console, talks to the agent in the guest;
//! - [`scenario`] runs lists of actions; [`suites`] are the lists; [`report`] counts;
//! - [`demo`] carries a memcached over, [`bench`] counts instructions, [`vm`] gives a person a shell.

pub mod bench;
pub mod cache;
pub mod demo;
pub mod golden;
pub mod hostile;
pub mod image;
pub mod machine;
mod operator;
mod progress;
pub mod report;
pub mod scenario;
pub mod suites;
mod symbols;
pub mod vm;
pub mod watch;
