// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Builds the client in C that knows nothing but the published protocol.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::{self, Command},
};

use anyhow::{Context as _, Result, ensure};

use crate::cache;

const NAME: &str = "luo-agent-client";
const SOURCE: &str = include_str!("../../clients/luo-agent-client.c");

/// Gives the program's path; does nothing when this text has been compiled before.
///
/// # Errors
/// When there is no compiler, or it does not accept the text.
pub fn build_client() -> Result<PathBuf> {
    let mut text = DefaultHasher::new();
    SOURCE.hash(&mut text);
    let folder = cache::folder(&format!("clients/{:016x}", text.finish()))?;
    let program = folder.join(NAME);
    if program.exists() {
        return Ok(program);
    }
    // Another run may be at it, too.
    let (source, built) = (
        folder.join(format!("{NAME}-{}.c", process::id())),
        folder.join(format!("{NAME}-{}", process::id())),
    );
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    let status = Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o"])
        .arg(&built)
        .arg(&source)
        .status()
        .context("cannot run gcc; install the packages gcc and libc6-dev")?;
    ensure!(status.success(), "gcc could not build {NAME}: {status}");
    fs::rename(&built, &program).with_context(|| format!("cannot write {}", program.display()))?;
    fs::remove_file(&source).ok();
    Ok(program)
}
