// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Disk space.

use std::path::Path;

use anyhow::{Context, Result, bail};

const GIB: f64 = (1u64 << 30) as f64;

/// Space for the packages that a bare Debian 12 lacks, in GiB.
pub const PACKAGES_GIB: f64 = 2.5;
/// Space for one unpacked kernel source and the package it comes in, in GiB.
pub const SOURCE_GIB: f64 = 2.5;
/// Space for what one build of a guest kernel leaves, in GiB.
pub const BUILD_GIB: f64 = 1.5;

/// Free space, in GiB, on the file system on which `path` lies or would be created.
pub fn free_gib(path: &Path) -> Result<f64> {
    let existing = path
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)
        .with_context(|| format!("cannot ask for the free space of {}", existing.display()))?;
    Ok(stat.f_bavail as f64 * stat.f_frsize as f64 / GIB)
}

/// Fails unless `gib` are free where `path` is or would be.
pub fn require(path: &Path, gib: f64, what: &str) -> Result<()> {
    let free = free_gib(path)?;
    if free < gib {
        bail!(
            "not enough disk space for {what}: {} has {free:.1} GiB free, {gib:.1} GiB are needed. \
             Free some, or set LUO_CACHE to a folder on another disk",
            path.display()
        );
    }
    Ok(())
}
