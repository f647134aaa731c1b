// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Configuring and compiling a working copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::config::{self, Options};
use crate::kernel::source::Source;
use crate::kernel::toolchain::Toolchain;
use crate::kernel::tree::Tree;
use crate::kernel::{KernelRequest, mirror};
use crate::run;
use crate::setup::disk;
use crate::ui::Step;

/// The file of a build folder that tells what it was configured for.
const STAMP: &str = "luo-options.stamp";

/// Builds `bzImage` and returns the build folder. The caller holds the tree's lock; `kconfig` is what preparing the
/// tree returned.
///
/// Both flavors share the folder: going from one to the other compiles the implementation and links.
///
/// # Errors
/// An option does not come out as asked for, the disk is full, or make fails.
pub fn build(
    cache: &Cache,
    request: &KernelRequest,
    source: &Source,
    tree: &Tree,
    kconfig: &str,
    options: &Options,
    toolchain: &Toolchain,
) -> Result<PathBuf> {
    let name = folder_name(request, source, options);
    let out = cache.folder("build")?.join(&name);
    if !out.join("vmlinux").exists() {
        disk::require(cache.root(), disk::BUILD_GIB, "building the kernel")?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let run = Run {
        toolchain,
        tree,
        out: &out,
        log: cache.folder("logs")?.join(&name),
    };
    let title = format!("Linux {} ({})", source.version, request.flavor);
    let mut options = options.clone();
    if tree.has_choice()? {
        options.ours.push(config::flavor_fragment(request.flavor));
    }
    let stamp = stamp(source, kconfig, &options);
    configured(&out, &stamp, || run.configure(&title, &options))?;
    let mut step = Step::start(format!("Building {title}"));
    let jobs = format!(
        "-j{}",
        thread::available_parallelism().map_or(1, usize::from)
    );
    run.make("build", &mut step, &[&jobs, "bzImage"])?;
    step.done("");
    Ok(out)
}

/// Has a build folder configured, unless its stamp says that it is.
fn configured(out: &Path, stamp: &str, configure: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = out.join(STAMP);
    if fs::read_to_string(&path).is_ok_and(|found| found == stamp) {
        return Ok(());
    }
    // What is given up half-way is configured for nothing, also not for what it was configured for before.
    mirror::put(out, Path::new(STAMP), b"")?;
    configure()?;
    mirror::put(out, Path::new(STAMP), stamp.as_bytes())
}

/// What the steps of a build have in common.
struct Run<'a> {
    toolchain: &'a Toolchain,
    tree: &'a Tree,
    out: &'a Path,
    /// The beginning of the logs' names.
    log: PathBuf,
}

impl Run<'_> {
    fn make(&self, name: &str, step: &mut Step, args: &[&str]) -> Result<()> {
        let mut log = self.log.clone().into_os_string();
        log.push(format!("-{name}.log"));
        run::logged(
            make_in(self.toolchain, &self.tree.dir, self.out).args(args),
            Path::new(&log),
            step,
        )
    }

    fn configure(&self, title: &str, options: &Options) -> Result<()> {
        let mut step = Step::start(format!("Configuring {title}"));
        self.make("tinyconfig", &mut step, &["tinyconfig"])?;
        let config = self.out.join(".config");
        let mut merge = self.toolchain.command("scripts/kconfig/merge_config.sh");
        merge
            .current_dir(&self.tree.dir)
            .arg("-m")
            .arg("-O")
            .arg(self.out)
            .arg(&config);
        for (number, fragment) in options.fragments().enumerate() {
            let file = format!("luo-{number}.config");
            mirror::put(self.out, Path::new(&file), fragment.as_bytes())?;
            merge.arg(self.out.join(file));
        }
        run::output(&mut merge)?;
        self.make("olddefconfig", &mut step, &["olddefconfig"])?;
        let text = fs::read_to_string(&config)
            .with_context(|| format!("cannot read {}", config.display()))?;
        options.check(&text, &self.tree.dir)?;
        step.done("");
        Ok(())
    }
}

/// Changes when the build folder has to be configured anew; to do it every time would cost ten seconds.
fn stamp(source: &Source, kconfig: &str, options: &Options) -> String {
    let mut digest = Digest::new();
    digest.add("source", &source.stamp).add("kconfig", kconfig);
    for fragment in options.fragments() {
        digest.add("fragment", fragment);
    }
    digest.finish()
}

/// `make` for a tree with its products elsewhere.
#[must_use]
pub fn make_in(toolchain: &Toolchain, tree: &Path, out: &Path) -> Command {
    let mut make = toolchain.make();
    make.arg("-C").arg(tree).arg(format!("O={}", out.display()));
    make
}

/// One folder for each source, variant and set of the user's options.
///
/// The project's own options are not part of the name: when they change, make rebuilds what depends on them.
fn folder_name(request: &KernelRequest, source: &Source, options: &Options) -> String {
    let mut name = format!("{}-{}", source.id, request.variant);
    if !options.users.is_empty() {
        let mut digest = Digest::new();
        for fragment in &options.users {
            digest.add("fragment", fragment);
        }
        name = format!("{name}-{}", digest.finish());
    }
    name
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_folder_half_configured_for_another_flavor_is_configured_again() {
        let out = tempfile::tempdir().unwrap();
        let done = std::cell::Cell::new(0);
        let works = || {
            done.set(done.get() + 1);
            Ok(())
        };
        configured(out.path(), "rust", works).unwrap();
        configured(out.path(), "rust", works).unwrap();
        assert_eq!(done.get(), 1, "configured though it was");
        configured(out.path(), "c", || bail!("interrupted")).unwrap_err();
        configured(out.path(), "rust", works).unwrap();
        assert_eq!(done.get(), 2, "taken for configured");
    }
}
