// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Programs that come from crates.io, built into the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::run;
use crate::ui::Step;

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name.
    pub program: &'static str,
    /// The crate that it is part of.
    package: &'static str,
    /// The version of the crate.
    pub version: &'static str,
}

/// What the kernel is built with. Debian 12 has it only in a version too old.
pub const BINDGEN: Tool = Tool {
    program: "bindgen",
    package: "bindgen-cli",
    version: "0.72.1",
};

/// What builds fuzzers.
pub const CARGO_FUZZ: Tool = Tool {
    program: "cargo-fuzz",
    package: "cargo-fuzz",
    version: "0.13.2",
};

impl Tool {
    fn root(&self, cache: &Cache) -> PathBuf {
        let name = format!("{}-{}", self.program, self.version);
        cache.root().join("tools").join(name)
    }

    /// The folder that holds the program, if it is installed.
    #[must_use]
    pub fn installed(&self, cache: &Cache) -> Option<PathBuf> {
        let bin = self.root(cache).join("bin");
        bin.join(self.program).is_file().then_some(bin)
    }

    /// Builds it from crates.io into the cache.
    pub fn install(&self, cache: &Cache) -> Result<()> {
        let Self {
            program,
            package,
            version,
        } = self;
        let _lock = cache.lock(program)?;
        if self.installed(cache).is_some() {
            return Ok(());
        }
        let scratch = cache.scratch()?;
        let mut step = Step::start(format!("Installing {program} {version}"));
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", "--locked", package, "--version", version])
            .arg("--root")
            .arg(scratch.path())
            .env("CARGO_TARGET_DIR", scratch.path().join("target"));
        let log = cache.folder("logs")?.join(format!("{program}.log"));
        run::logged(&mut cargo, &log, &mut step).with_context(|| {
            format!("cannot install {program}; if the log speaks of the network, check that crates.io can be reached")
        })?;
        std::fs::remove_dir_all(scratch.path().join("target"))
            .with_context(|| format!("cannot remove the build folder of {program}"))?;
        cache.folder("tools")?;
        std::fs::rename(scratch.keep(), self.root(cache))
            .with_context(|| format!("cannot move {program} into the cache"))?;
        step.done("");
        Ok(())
    }
}
