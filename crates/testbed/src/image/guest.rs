// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Builds this workspace's programs for the machines, statically linked.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::cache;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The example of luod's that shows authors of VMMs how to keep a guest's memory.
const EXAMPLE: &str = "keeps-memory";

/// What carries services over an update.
#[derive(Debug, Clone)]
pub struct AgentPrograms {
    /// luod, which tests can have killed at each of its steps.
    pub luod: PathBuf,
    /// For operators.
    pub luoctl: PathBuf,
    /// A client as one would write it.
    pub example: PathBuf,
}

/// Builds the guest's init from this workspace and gives its path; does nothing when it is up to date.
///
/// # Errors
/// When cargo fails; what it said is on standard error.
pub fn build_guest() -> Result<PathBuf> {
    let release = build(&["--package", "luo-guest", "--bin", "luo-guest"])?;
    Ok(release.join("luo-guest"))
}

/// Builds luod, luoctl and luod's example.
///
/// # Errors
/// As [`build_guest`].
pub fn build_agent() -> Result<AgentPrograms> {
    let release = build(&[
        "--package",
        "luod",
        "--package",
        "luoctl",
        "--bin",
        "luod",
        "--bin",
        "luoctl",
        "--example",
        EXAMPLE,
        "--features",
        "luod/kill-points",
    ])?;
    Ok(AgentPrograms {
        luod: release.join("luod"),
        luoctl: release.join("luoctl"),
        example: release.join("examples").join(EXAMPLE),
    })
}

/// Gives the folder with what was built.
fn build(what: &[&str]) -> Result<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    // A target folder of its own: cargo holds a lock on the workspace's while it runs us. One for each checkout: cargo tells them
    // apart by the time of their files only, and would take another's build for this one's.
    let mut checkout = DefaultHasher::new();
    workspace.hash(&mut checkout);
    let target_dir = cache::folder(&format!("guest-target/{:016x}", checkout.finish()))?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(what)
        .args(["--target", TARGET, "--manifest-path"])
        .arg(&workspace)
        .arg("--target-dir")
        .arg(&target_dir)
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=symbols",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo to build the machine's programs")?;
    ensure!(
        status.success(),
        "cargo could not build {} from {}: {status}",
        what.join(" "),
        workspace.display()
    );
    Ok(target_dir.join(TARGET).join("release"))
}
