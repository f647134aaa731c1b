// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The programs that compile a kernel. The project's own Rust toolchain is not among them.

use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::kernel::Variant;
use crate::run;
use crate::setup::tool::BINDGEN;

const RUSTC: &str = "/usr/bin/rustc";
const LIBCLANG: &str = "/usr/lib/llvm-19/lib";
const SYSTEM_PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// A set of compilers and the environment they run in.
#[derive(Clone, Debug)]
pub struct Toolchain {
    path: String,
    make_vars: Vec<String>,
    /// What the programs say about their versions; part of an image's key.
    pub versions: String,
}

impl Toolchain {
    /// Finds the programs for a variant and asks for their versions.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn detect(cache: &Cache, variant: Variant) -> Result<Self> {
        let bindgen = BINDGEN
            .installed(cache)
            .context("bindgen is not in the cache")?;
        let path = format!("{}:{SYSTEM_PATH}", bindgen.display());
        let (compilers, vars): (&[&str], &[&str]) = match variant {
            Variant::Plain | Variant::Lockdep => (&["gcc", "ld"], &["CC=gcc"]),
            // Linux allows KASAN beside Rust only when clang compiles the C.
            Variant::Kasan => (&["clang-19", "ld.lld-19"], &["LLVM=-19"]),
        };
        let mut make_vars = vec![
            "ARCH=x86".to_owned(),
            format!("RUSTC={RUSTC}"),
            format!("HOSTRUSTC={RUSTC}"),
        ];
        make_vars.extend(vars.iter().map(|&v| v.to_owned()));
        let mut toolchain = Self {
            path,
            make_vars,
            versions: String::new(),
        };
        for program in compilers.iter().copied().chain(["bindgen", RUSTC]) {
            let said = run::output(toolchain.command(program).arg("--version"))?;
            toolchain.versions += said.lines().next().unwrap_or_default();
            toolchain.versions.push('\n');
        }
        Ok(toolchain)
    }

    /// A program that sees the kernel's compilers and nothing of cargo's.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = run::outside_cargo(program);
        command
            .env("PATH", &self.path)
            .env("LIBCLANG_PATH", LIBCLANG)
            // The same input gives the same image, whoever builds it and when.
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_USER", "luo")
            .env("KBUILD_BUILD_HOST", "luo")
            .env("KBUILD_BUILD_VERSION", "1");
        command
    }

    /// `make` with the variables that choose the compilers.
    #[must_use]
    pub fn make(&self) -> Command {
        let mut make = self.command("make");
        make.args(&self.make_vars);
        make
    }
}
