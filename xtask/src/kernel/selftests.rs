// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The upstream selftests of live update and KHO, unmodified, as static programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::{KernelImage, make, toolchain::Toolchain};
use crate::run;
use crate::ui::Step;

const SELFTESTS: &str = "tools/testing/selftests";
/// What the programs are made from, besides the C library.
const INPUTS: &[&str] = &[
    "tools/testing/selftests/liveupdate",
    "tools/testing/selftests/kho",
    "tools/testing/selftests/lib.mk",
    "tools/testing/selftests/kselftest.h",
    "tools/testing/selftests/kselftest_harness.h",
    "include/uapi",
    "arch/x86/include/uapi",
];

/// Builds the selftests in the tree of `kernel` and returns the programs.
///
/// # Errors
/// The compiler does not accept them; the error shows its messages.
pub fn selftests(kernel: &KernelImage) -> Result<Vec<PathBuf>> {
    let cache = Cache::locate()?;
    let toolchain = Toolchain::detect(&cache, kernel.variant)?;
    let key = key(&kernel.tree, &toolchain)?;
    let dir = cache.folder("selftests")?.join(key);
    if !dir.is_dir() {
        let _lock = cache.lock("selftests")?;
        if !dir.is_dir() {
            compile(&cache, kernel, &toolchain, &dir)?;
        }
    }
    programs(&dir)
}

fn key(tree: &Path, toolchain: &Toolchain) -> Result<String> {
    let mut digest = Digest::new();
    digest.add("toolchain", &toolchain.versions);
    for input in INPUTS {
        for entry in WalkDir::new(tree.join(input)).sort_by_file_name() {
            let entry = entry.context("cannot list the selftests")?;
            if entry.file_type().is_file() && !is_product(entry.path()) {
                digest.add_file(
                    entry
                        .path()
                        .strip_prefix(tree)?
                        .as_os_str()
                        .as_encoded_bytes(),
                    entry.path(),
                )?;
            }
        }
    }
    Ok(digest.finish())
}

fn compile(cache: &Cache, kernel: &KernelImage, toolchain: &Toolchain, dir: &Path) -> Result<()> {
    let logs = cache.folder("logs")?;
    let scratch = cache.scratch()?;
    let (headers, out) = (scratch.path().join("headers"), scratch.path().join("out"));
    fs::create_dir(&out).context("cannot create a folder in the cache")?;
    let mut step = Step::start(format!(
        "Building the selftests of Linux {}",
        kernel.version
    ));
    let mut install = make::make_in(toolchain, &kernel.tree, &scratch.path().join("build"));
    install
        .arg(format!("INSTALL_HDR_PATH={}", headers.display()))
        .arg("headers_install");
    fs::create_dir(scratch.path().join("build")).context("cannot create a folder in the cache")?;
    run::logged(&mut install, &logs.join("headers.log"), &mut step)?;

    let sources = kernel.tree.join(SELFTESTS).join("liveupdate");
    let mut build = toolchain.command("make");
    build
        .arg("-C")
        .arg(&sources)
        .arg(format!("OUTPUT={}", out.display()))
        .arg(format!(
            "KHDR_INCLUDES=-isystem {}",
            headers.join("include").display()
        ))
        .args(["CC=gcc", "LDFLAGS=-static"]);
    // The makefile leaves objects beside the sources, whatever OUTPUT says; old ones may be of other headers.
    remove_products(&sources)?;
    run::logged(&mut build, &logs.join("selftests.log"), &mut step)?;
    // A script is what makes this one, and much else.
    let mut build = toolchain.command("gcc");
    build
        .args(["-static", "-isystem"])
        .arg(headers.join("include"))
        .arg("-o")
        .arg(out.join("kho"))
        .arg(kernel.tree.join(SELFTESTS).join("kho/init.c"));
    run::logged(&mut build, &logs.join("selftest-kho.log"), &mut step)?;
    remove_products(&sources)?;
    let built = programs(&out)?.len();
    fs::rename(&out, dir).with_context(|| format!("cannot create {}", dir.display()))?;
    step.done(&format!("{built} programs"));
    Ok(())
}

fn is_product(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "o" || end == "d")
}

fn remove_products(dir: &Path) -> Result<()> {
    for entry in WalkDir::new(dir) {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        if entry.file_type().is_file() && is_product(entry.path()) {
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The ELF programs in a folder; objects and dependency files lie beside them.
fn programs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("cannot list {}", dir.display()))?
            .path();
        if path.extension().is_none() && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
