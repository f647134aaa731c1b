// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask mutants`: whether the models of races would notice a lock that is missing.
//!
//! Each patch in `crates/races/mutations` takes something away from LUO's locking, and names the models that must
//! then fail. It is applied to a copy of the text in the cache, never to the checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cache::{Cache, CacheLock};
use crate::cargo;
use crate::kernel::patches;
use crate::repo;
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
    /// A mutation does not apply or does not compile, or the cache cannot be written.
    pub fn run(&self) -> Result<ExitCode> {
        let trials = Trials::prepare(&Cache::locate()?)?;
        let (mut killed, mut survived) = (0, 0);
        for mutation in trials.mutations() {
            let name = &mutation.name;
            if !self.filter.as_ref().is_none_or(|it| name.contains(it)) {
                continue;
            }
            let step = Step::start(format!("Mutation {name}"));
            let survivors = trials.survivors(mutation)?;
            step.done("");
            if survivors.is_empty() {
                println!("ok      {name}: killed by {}", mutation.killers.join(", "));
                killed += 1;
            } else {
                println!("FAILED  {name}: SURVIVED {}", survivors.join(", "));
                survived += 1;
            }
        }
        println!("{killed} killed, {survived} survived");
        Ok(if survived == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// All mutations, and a copy of the checkout to try them in.
#[derive(Debug)]
pub struct Trials {
    mutations: Vec<Mutation>,
    copy: Copy,
    _lock: CacheLock,
}

impl Trials {
    /// Waits until nobody else tries mutations, and brings the copy up to date.
    ///
    /// # Errors
    /// The cache cannot be written, or a mutation cannot be read.
    pub fn prepare(cache: &Cache) -> Result<Self> {
        let lock = cache.lock("mutants")?;
        Ok(Self {
            mutations: Mutation::all()?,
            copy: Copy::refresh(&cache.folder("mutants")?)?,
            _lock: lock,
        })
    }

    /// All mutations.
    #[must_use]
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// Tries one; gives those of its models that do not notice it, though they must.
    ///
    /// # Errors
    /// It does not apply or does not compile, or the cache cannot be written.
    pub fn survivors(&self, mutation: &Mutation) -> Result<Vec<String>> {
        self.copy.survivors(mutation)
    }
}

/// A patch, and the models that must notice it.
#[derive(Debug)]
pub struct Mutation {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    diff: Vec<u8>,
    /// The models that must fail.
    pub killers: Vec<String>,
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

impl Mutation {
    /// The files that it changes.
    fn apply(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let edit = [(self.path.clone(), self.diff.clone())];
        patches::apply(&edit, repo::root(), &BTreeMap::new())
    }
}

/// A copy of the checkout.
#[derive(Debug)]
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
        let changed = mutation.apply()?;
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
        cargo::test_program("luo-races", "races", |cargo| {
            cargo
                .args(["--config", "profile.dev.debug=false"])
                .env("CARGO_TARGET_DIR", &self.target)
                .current_dir(&self.tree)
        })
        .with_context(|| format!("the mutation {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four of them did not, for an hour, and only the next long run would have said so.
    #[test]
    fn every_mutation_applies() {
        for mutation in Mutation::all().unwrap() {
            let changed = mutation.apply();
            assert!(!changed.unwrap().is_empty(), "{}", mutation.name);
        }
    }
}
