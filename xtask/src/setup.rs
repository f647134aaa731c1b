// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the tasks need from the machine, and how they get it.
//!
//! Every task that needs something calls [`ensure`] first, so that nobody has to prepare a machine by hand.

pub mod apt;
pub mod disk;
pub mod tool;

use anyhow::Result;

use crate::cache::Cache;
use crate::setup::tool::{BINDGEN, CARGO_FUZZ};

/// A reason to need a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Building a kernel.
    Kernel,
    /// Running one.
    Machine,
    /// The service that the demo carries across the update.
    Demo,
    /// Building a fuzzer.
    Fuzz,
}

/// A Debian package and the reason to need it.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name in Debian 12.
    pub name: &'static str,
    /// Who needs it.
    pub need: Need,
}

const fn package(name: &'static str, need: Need) -> Package {
    Package { name, need }
}

/// Everything taken from Debian.
pub const PACKAGES: &[Package] = &[
    package("bc", Need::Kernel),
    package("binutils", Need::Kernel),
    package("bison", Need::Kernel),
    package("clang-19", Need::Kernel),
    package("cpio", Need::Kernel),
    package("dwarves", Need::Kernel),
    package("flex", Need::Kernel),
    package("gcc", Need::Kernel),
    package("kmod", Need::Kernel),
    package("libc6-dev", Need::Kernel),
    package("libclang-19-dev", Need::Kernel),
    package("libelf-dev", Need::Kernel),
    package("libssl-dev", Need::Kernel),
    package("lld-19", Need::Kernel),
    package("llvm-19", Need::Kernel),
    package("make", Need::Kernel),
    package("patch", Need::Kernel),
    package("perl", Need::Kernel),
    package("python3", Need::Kernel),
    package("rsync", Need::Kernel),
    package("rust-web-src", Need::Kernel),
    package("rustc-web", Need::Kernel),
    package("xz-utils", Need::Kernel),
    package("busybox-static", Need::Machine),
    package("qemu-system-x86", Need::Machine),
    package("memcached", Need::Demo),
    package("g++", Need::Fuzz),
];

/// Installs what `needs` asks for and the machine lacks.
///
/// # Errors
/// Packages are missing and this is not root (the error holds the command to type), the network or the disk does not
/// suffice, or an installer failed.
pub fn ensure(cache: &Cache, needs: &[Need]) -> Result<()> {
    let wanted: Vec<&str> = PACKAGES
        .iter()
        .filter(|p| needs.contains(&p.need))
        .map(|p| p.name)
        .collect();
    let missing = apt::missing(&wanted)?;
    if !missing.is_empty() {
        apt::install(cache, &missing)?;
    }
    if needs.contains(&Need::Kernel) && BINDGEN.installed(cache).is_none() {
        // In such a cache there is no kernel either: it would be a pity to say so minutes later.
        disk::require(cache.root(), disk::SOURCE_GIB + disk::BUILD_GIB, "a kernel")?;
        BINDGEN.install(cache)?;
    }
    if needs.contains(&Need::Fuzz) && CARGO_FUZZ.installed(cache).is_none() {
        CARGO_FUZZ.install(cache)?;
    }
    Ok(())
}
