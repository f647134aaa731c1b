// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A systemd that knows live update, for machines of the test bed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::debian;
use crate::run;
use crate::ui::Step;

/// Live update is there from systemd 261 on, which Debian's stable releases do not have yet.
const SUITE: &str = "forky";
/// systemd, and what it cannot be without; the last one it needs for sandboxes.
const PACKAGES: [&str; 9] = [
    "systemd",
    "libsystemd-shared",
    "libsystemd0",
    "libblkid1",
    "libmount1",
    "libpcre2-8-0",
    "libselinux1",
    "libc6",
    "libseccomp2",
];
/// Folders of a Debian system that are links to those below `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// The root of a system with little else than systemd, fetched unless the cache has one.
///
/// # Errors
/// It cannot be fetched.
pub fn root(cache: &Cache) -> Result<PathBuf> {
    let _lock = cache.lock("systemd")?;
    let place = cache.folder("systemd")?;
    let there = fs::read_dir(&place)
        .with_context(|| format!("cannot list {}", place.display()))?
        .flatten()
        .map(|entry| entry.path());
    match there.max() {
        Some(root) => Ok(root),
        None => fetch(cache).context("cannot get systemd"),
    }
}

fn fetch(cache: &Cache) -> Result<PathBuf> {
    let packages = debian::download(cache, SUITE, &PACKAGES)?;
    let step = Step::start("Unpacking systemd");
    let scratch = cache.scratch()?;
    let root = scratch.path().join("root");
    fs::create_dir(&root).context("cannot create a folder in the cache")?;
    for package in PACKAGES {
        let mut extract = run::outside_cargo("dpkg-deb");
        extract
            .arg("--extract")
            .arg(packages.file(package)?)
            .arg(&root);
        run::output(&mut extract).with_context(|| format!("cannot unpack {package}"))?;
    }
    for folder in MERGED {
        symlink(format!("usr/{folder}"), root.join(folder))
            .with_context(|| format!("cannot link /{folder}"))?;
    }
    let mut field = run::outside_cargo("dpkg-deb");
    field
        .arg("--field")
        .arg(packages.file(PACKAGES[0])?)
        .arg("Version");
    let version = run::output(&mut field)?;
    let place = cache.folder("systemd")?.join(version.trim());
    fs::rename(&root, &place)
        .with_context(|| format!("cannot move systemd to {}", place.display()))?;
    step.done(version.trim());
    Ok(place)
}
