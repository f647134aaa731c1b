// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask mutants`: whether the models of races would notice a lock that is missing.
//!
//! Each patch in `crates/races/mutations` takes something away from LUO's locking, and names the models that must
//! then fail. It is applied to a copy of the text in the cache, never to the checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::cache::Cache;
use crate::kernel::patches;
use crate::repo;
use crate::task::test::Tally;
use crate::tidy;
use crate::ui::Step;

/// Where the mutations lie.
const MUTATIONS: &str = "crates/races/mutations";
/// What stands before the names of models in a mutation.
const KILLERS: &str = "# Killed by: ";

/// Check that the models of races fail when a lock is missing
#[derive(Args, Debug)]
pub struct Mutants {
    /// Only mutations whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

impl Mutants {
    /// Runs the command; the exit code is 1 if a mutation survives.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self) -> Result<ExitCode> {
        let tally = run(self.filter.as_deref())?;
        println!("{} killed, {} survived", tally.passed, tally.failed);
        Ok(if tally.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Tries all mutations whose name contains `filter`. One passes if each of its models fails.
///
/// # Errors
/// A mutation does not apply or does not compile, or the cache cannot be written.
pub fn run(filter: Option<&str>) -> Result<Tally> {
    let cache = Cache::locate()?;
    let _lock = cache.lock("mutants")?;
    let copy = Copy::refresh(&cache.folder("mutants")?)?;
    let mut tally = Tally::default();
    for mutation in Mutation::all()? {
        if !filter.is_none_or(|text| mutation.name.contains(text)) {
            continue;
        }
        let step = Step::start(format!("Mutation {}", mutation.name));
        let survivors = copy.survivors(&mutation)?;
        step.done("");
        if survivors.is_empty() {
            println!(
                "ok      {}: killed by {}",
                mutation.name,
                mutation.killers.join(", ")
            );
            tally.passed += 1;
        } else {
            println!(
                "FAILED  {}: SURVIVED {}",
                mutation.name,
                survivors.join(", ")
            );
            tally.failed += 1;
        }
    }
    Ok(tally)
}

/// A patch, and the models that must notice it.
struct Mutation {
    name: String,
    path: PathBuf,
    diff: Vec<u8>,
    killers: Vec<String>,
}

impl Mutation {
    fn all() -> Result<Vec<Self>> {
        let mut paths = fs::read_dir(repo::root().join(MUTATIONS))
            .and_then(|entries| {
                entries
                    .map(|it| Ok(it?.path()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("cannot list {MUTATIONS}"))?;
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Result<Self> {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let killers = text.lines().filter_map(|line| line.strip_prefix(KILLERS));
        let killers: Vec<_> = killers
            .flat_map(|it| it.split(", "))
            .map(str::to_owned)
            .collect();
        ensure!(
            !killers.is_empty(),
            "{} does not say \"{KILLERS}\"",
            path.display()
        );
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let diff = text.into_bytes();
        Ok(Self {
            name,
            path,
            diff,
            killers,
        })
    }
}

/// A copy of the checkout.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Makes the copy in `folder` equal to the checkout. What is equal already is left alone, and need not be
    /// compiled again.
    fn refresh(folder: &Path) -> Result<Self> {
        let copy = Self {
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        for file in tidy::files(repo::root())? {
            copy.write(&file.path, file.text.as_bytes())?;
        }
        Ok(copy)
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let path = self.tree.join(path);
        if fs::read(&path).is_ok_and(|it| it == content) {
            return Ok(());
        }
        let folder = path.parent().expect("it lies in the tree");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The models that do not notice the mutation.
    fn survivors(&self, mutation: &Mutation) -> Result<Vec<String>> {
        let edit = [(mutation.path.clone(), mutation.diff.clone())];
        let changed = patches::apply(&edit, repo::root(), &BTreeMap::new())?;
        for (path, content) in &changed {
            self.write(path, content)?;
        }
        let survivors = self.run_models(mutation);
        for path in changed.keys() {
            let original = fs::read(repo::root().join(path));
            self.write(
                path,
                &original.with_context(|| format!("cannot read {}", path.display()))?,
            )?;
        }
        survivors
    }

    fn run_models(&self, mutation: &Mutation) -> Result<Vec<String>> {
        let program = self.build(&mutation.name)?;
        let mut survivors = Vec::new();
        for killer in &mutation.killers {
            let out = Command::new(&program)
                .args(["--exact", killer])
                .env("RUST_BACKTRACE", "0")
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot run {}", program.display()))?;
            let said = String::from_utf8_lossy(&out.stdout);
            if !said.contains("test result: FAILED. 0 passed; 1 failed") {
                survivors.push(killer.clone());
            }
        }
        Ok(survivors)
    }

    /// Compiles the models; gives the program.
    fn build(&self, name: &str) -> Result<PathBuf> {
        let out = Command::new("cargo")
            .args([
                "test",
                "--package",
                "luo-races",
                "--test",
                "races",
                "--no-run",
            ])
            .args([
                "--quiet",
                "--message-format",
                "json",
                "--config",
                "profile.dev.debug=false",
            ])
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(&self.tree)
            .stdin(Stdio::null())
            .output()
            .context("cannot run cargo")?;
        if !out.status.success() {
            bail!(
                "the mutation {name} does not compile:\n{}",
                String::from_utf8_lossy(&out.stdout)
                    .lines()
                    .filter_map(rendered)
                    .collect::<String>()
            );
        }
        let said = String::from_utf8_lossy(&out.stdout);
        let program = said.lines().find_map(executable);
        program.with_context(|| format!("cargo named no program for {name}"))
    }
}

fn message(line: &str) -> Option<serde_json::Value> {
    serde_json::from_str(line).ok()
}

fn rendered(line: &str) -> Option<String> {
    let message = message(line)?;
    let compiler = message.get("message")?;
    (compiler["level"] == "error")
        .then(|| compiler["rendered"].as_str().unwrap_or_default().to_owned())
}

fn executable(line: &str) -> Option<PathBuf> {
    let message = message(line)?;
    (message["target"]["name"] == "races")
        .then(|| message["executable"].as_str().map(PathBuf::from))?
}
