// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Builds `luo-guest`, statically linked.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::cache;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the guest's init from this workspace and gives its path; does nothing when it is up to date.
///
/// # Errors
/// When cargo fails; what it said is on standard error.
pub fn build_guest() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest/Cargo.toml");
    // A target folder of its own: cargo holds a lock on the workspace's while it runs us. One for each checkout: cargo tells them
    // apart by the time of their files only, and would take another's build for this one's.
    let mut checkout = DefaultHasher::new();
    manifest.hash(&mut checkout);
    let target_dir = cache::folder(&format!("guest-target/{:016x}", checkout.finish()))?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--bin",
            "luo-guest",
            "--target",
            TARGET,
            "--manifest-path",
        ])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=symbols",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo to build luo-guest")?;
    ensure!(
        status.success(),
        "cargo could not build luo-guest from {}: {status}",
        manifest.display()
    );
    Ok(target_dir.join(TARGET).join("release/luo-guest"))
}
