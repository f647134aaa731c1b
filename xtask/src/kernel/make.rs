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

/// Builds `bzImage` and returns the build folder. The caller holds the tree's lock.
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
    options: &Options,
    toolchain: &Toolchain,
) -> Result<PathBuf> {
    let name = folder_name(request, source, options);
    let out = cache.folder("build")?.join(&name);
    if !out.join("vmlinux").exists() {
        disk::require(cache.root(), disk::BUILD_GIB, "building the kernel")?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let logs = cache.folder("logs")?;
    let make = |log: &str, step: &mut Step, args: &[&str]| {
        let mut make = make_in(toolchain, &tree.dir, &out);
        run::logged(
            make.args(args),
            &logs.join(format!("{name}-{log}.log")),
            step,
        )
    };

    let mut step = Step::start(format!(
        "Configuring Linux {} ({})",
        source.version, request.flavor
    ));
    make("tinyconfig", &mut step, &["tinyconfig"])?;
    merge(toolchain, request, tree, options, &out)?;
    make("olddefconfig", &mut step, &["olddefconfig"])?;
    let config = out.join(".config");
    let text =
        fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    options.check(&text, &tree.dir)?;
    step.done("");

    let mut step = Step::start(format!(
        "Building Linux {} ({})",
        source.version, request.flavor
    ));
    let jobs = format!(
        "-j{}",
        thread::available_parallelism().map_or(1, usize::from)
    );
    make("build", &mut step, &[&jobs, "bzImage"])?;
    step.done("");
    Ok(out)
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
            digest.add("fragment", &fragment.text);
        }
        name = format!("{name}-{}", digest.finish());
    }
    name
}

fn merge(
    toolchain: &Toolchain,
    request: &KernelRequest,
    tree: &Tree,
    options: &Options,
    out: &Path,
) -> Result<()> {
    let mut command = toolchain.command("scripts/kconfig/merge_config.sh");
    command
        .current_dir(&tree.dir)
        .arg("-m")
        .arg("-O")
        .arg(out)
        .arg(out.join(".config"));
    let flavor = tree
        .has_choice()?
        .then(|| format!("{}=y\n", config::flavor_option(request.flavor)));
    let texts = options
        .ours
        .iter()
        .map(|f| &f.text)
        .chain(&flavor)
        .chain(options.users.iter().map(|f| &f.text));
    for (number, text) in texts.enumerate() {
        let file = format!("luo-{number}.config");
        mirror::put(out, Path::new(&file), text.as_bytes())?;
        command.arg(out.join(file));
    }
    run::output(&mut command)?;
    Ok(())
}
