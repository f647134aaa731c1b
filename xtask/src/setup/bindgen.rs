// SPDX-License-Identifier: Apache-2.0 OR MIT

//! bindgen, which Debian 12 has only in a version too old for the kernel.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::run;
use crate::ui::Step;

/// The version the kernel is built with.
pub const VERSION: &str = "0.72.1";

fn root(cache: &Cache) -> PathBuf {
    cache
        .root()
        .join("tools")
        .join(format!("bindgen-{VERSION}"))
}

/// The folder that holds the program, if it is installed.
#[must_use]
pub fn installed(cache: &Cache) -> Option<PathBuf> {
    let bin = root(cache).join("bin");
    bin.join("bindgen").is_file().then_some(bin)
}

/// Builds it from crates.io into the cache.
pub fn install(cache: &Cache) -> Result<()> {
    let _lock = cache.lock("bindgen")?;
    if installed(cache).is_some() {
        return Ok(());
    }
    let scratch = cache.scratch()?;
    let mut step = Step::start(format!("Installing bindgen {VERSION}"));
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "install",
            "--locked",
            "bindgen-cli",
            "--version",
            VERSION,
            "--root",
        ])
        .arg(scratch.path())
        .env("CARGO_TARGET_DIR", scratch.path().join("target"));
    let log = cache.folder("logs")?.join("bindgen.log");
    run::logged(&mut cargo, &log, &mut step)
        .context("cannot install bindgen; if the log speaks of the network, check that crates.io can be reached")?;
    std::fs::remove_dir_all(scratch.path().join("target"))
        .context("cannot remove bindgen's build folder")?;
    cache.folder("tools")?;
    std::fs::rename(scratch.keep(), root(cache)).context("cannot move bindgen into the cache")?;
    step.done("");
    Ok(())
}
