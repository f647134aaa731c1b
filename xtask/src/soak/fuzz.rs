// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The fuzzers: built by cargo-fuzz, on the project's own toolchain, and run as programs.
//!
//! They run in rounds, since a simulated machine that is switched off keeps what a real one would: each round of a
//! fuzzer is a process of its own, which goes on from the inputs that those before it have found worth keeping.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cache::Cache;
use crate::repo;
use crate::run;
use crate::setup::tool::CARGO_FUZZ;
use crate::soak::process::{self, Ended};
use crate::soak::{Budget, Finding, Job, Outcome, Progress, kept};
use crate::ui::Step;

/// How many inputs a round tries. Each leaves about 20 KiB behind.
const ROUND: u32 = 100_000;
/// How long a round takes at most.
const ROUND_SECONDS: u64 = 120;
/// How long an input may take, on a machine that has other things to do.
const TIMEOUT_SECONDS: u32 = 120;
/// More than a round leaves behind.
const MEMORY_MIB: u32 = 6144;

/// Where the fuzzers are.
#[must_use]
pub fn folder() -> PathBuf {
    repo::root().join("fuzz")
}

/// The names of all fuzzers.
///
/// # Errors
/// Their manifest cannot be read.
pub fn names() -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Manifest {
        bin: Vec<Bin>,
    }
    #[derive(Deserialize)]
    struct Bin {
        name: String,
    }
    let path = folder().join("Cargo.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
    Ok(manifest.bin.into_iter().map(|bin| bin.name).collect())
}

/// A command of cargo-fuzz; its builds go to the folder `target` of the cache.
///
/// # Errors
/// It is not installed.
pub fn cargo_fuzz(cache: &Cache, command: &str, target: &str) -> Result<(Command, PathBuf)> {
    let bin = CARGO_FUZZ
        .installed(cache)
        .context("cargo-fuzz is not in the cache")?;
    let target = cache.folder(Path::new("fuzz").join(target))?;
    let mut cargo = Command::new(bin.join(CARGO_FUZZ.program));
    cargo
        .args(["fuzz", command, "--sanitizer", "none", "--target-dir"])
        .arg(&target)
        // libFuzzer needs options that are for nightly compilers only.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(repo::root());
    Ok((cargo, target))
}

/// The program that cargo-fuzz has built in `target`.
pub fn program(target: &Path, name: &str) -> Result<PathBuf> {
    let folder = target.join(format!("{}/release", host()?));
    Ok(folder.join(name))
}

/// The name that the compiler has for this machine.
pub fn host() -> Result<String> {
    let version = run::output(Command::new("rustc").arg("-vV").current_dir(repo::root()))?;
    let line = version.lines().find_map(|it| it.strip_prefix("host: "));
    Ok(line
        .context("rustc does not say which machine this is")?
        .to_owned())
}

/// A fuzzer that is built.
#[derive(Clone, Debug)]
pub struct Fuzzer {
    name: String,
    program: PathBuf,
    /// The inputs that it has found worth keeping.
    pub corpus: PathBuf,
    /// The inputs of the checkout.
    pub kept: PathBuf,
    findings: PathBuf,
    log: PathBuf,
}

impl Fuzzer {
    /// Builds all fuzzers, and prepares these.
    ///
    /// # Errors
    /// There is none of such a name, or they cannot be built.
    pub fn prepare(cache: &Cache, names: &[String]) -> Result<Vec<Self>> {
        let logs = cache.folder("logs")?;
        let mut step = Step::start("Building the fuzzers");
        let (mut cargo, target) = cargo_fuzz(cache, "build", "build")?;
        run::logged(&mut cargo, &logs.join("fuzz-build.log"), &mut step)?;
        step.done("");
        let prepare = |name: &String| {
            let of = |what: &str| cache.folder(Path::new("fuzz").join(what).join(name));
            let fuzzer = Self {
                name: name.clone(),
                program: program(&target, name)?,
                corpus: of("corpus")?,
                kept: of("kept")?,
                findings: of("findings")?,
                log: logs.join(format!("fuzz-{name}.log")),
            };
            kept::unpack(name, &fuzzer.kept)?;
            Ok(fuzzer)
        };
        names.iter().map(prepare).collect()
    }

    /// Runs one input, with everything that is to be seen on standard error.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn replay(&self, input: &Path) -> Result<ExitStatus> {
        let mut program = Command::new(&self.program);
        let status = program.arg(input).env("RUST_BACKTRACE", "1").status();
        status.with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// Puts the fewest inputs into `into` that reach all lines which the inputs of the corpus and those that are kept reach.
    ///
    /// # Errors
    /// The program fails.
    pub fn minimise(&self, into: &Path) -> Result<()> {
        let mut program = Command::new(&self.program);
        program.args(["-merge=1", "-use_counters=0"]);
        program.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        program.arg(into).arg(&self.corpus).arg(&self.kept);
        run::output(&mut program).map(drop)
    }

    fn round(&self, left: Duration) -> Result<Round> {
        let before = files(&self.findings)?;
        let seconds = left.as_secs().clamp(1, ROUND_SECONDS);
        let mut program = Command::new(&self.program);
        program
            .args([
                format!("-runs={ROUND}"),
                format!("-max_total_time={seconds}"),
                format!("-timeout={TIMEOUT_SECONDS}"),
                format!("-rss_limit_mb={MEMORY_MIB}"),
                format!("-artifact_prefix={}/", self.findings.display()),
            ])
            // A slow input is none of our concern, and would count as a finding.
            .args([
                "-report_slow_units=100000",
                "-max_len=2048",
                "-print_final_stats=1",
            ])
            .arg(&self.corpus)
            .arg(&self.kept)
            .env("RUST_BACKTRACE", "1");
        let Ended { status, said, cpu } = process::run(&mut program, &self.log)?;
        let finding = if status.success() {
            None
        } else {
            let input = files(&self.findings)?.difference(&before).next().cloned();
            let Some(input) = input else {
                bail!(
                    "{} ended with {status}; see {}",
                    self.name,
                    self.log.display()
                );
            };
            Some(self.finding(&said, input))
        };
        Ok(Round {
            executions: statistic(&said).unwrap_or(0),
            edges: edges(&said).unwrap_or(0),
            cpu,
            finding,
        })
    }

    fn finding(&self, said: &str, input: PathBuf) -> Finding {
        Finding {
            message: process::panic_message(said)
                .unwrap_or_else(|| format!("see {}", self.log.display())),
            replay: format!(
                "cargo xtask soak --target {} --replay {}",
                self.name,
                input.display()
            ),
            input,
        }
    }
}

/// What came of a round.
struct Round {
    executions: u64,
    edges: u64,
    cpu: Duration,
    finding: Option<Finding>,
}

impl Job for Fuzzer {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, budget: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new(&self.name, "executions");
        let mut edges = 0;
        while outcome.goes_on(budget) {
            let left = budget.cpu.as_secs_f64() - outcome.cpu_seconds;
            let round = self.round(Duration::from_secs_f64(left))?;
            outcome.cpu_seconds += round.cpu.as_secs_f64();
            outcome.number += round.executions;
            outcome.finding = round.finding;
            edges = edges.max(round.edges);
            progress(outcome.so_far());
        }
        // What libFuzzer counts as covered: edges between blocks of code, those of the checks included.
        outcome.add("edges", edges);
        Ok(outcome)
    }
}

fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// How many inputs libFuzzer says to have run.
fn statistic(said: &str) -> Option<u64> {
    let line = said
        .lines()
        .find_map(|it| it.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
}

/// How many edges libFuzzer says to have covered.
fn edges(said: &str) -> Option<u64> {
    let last = said.lines().rev().find_map(|it| it.split_once("cov: "))?;
    last.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 35Mb\n\
                        #9999\tDONE   cov: 3339 ft: 13028 corp: 1334/65Kb lim: 219 exec/s: 174 rss: 609Mb\n\
                        Done 9999 runs in 3 second(s)\n\
                        stat::number_of_executed_units: 9999\n";

    #[test]
    fn what_libfuzzer_says_is_understood() {
        assert_eq!(statistic(SAID), Some(9999));
        assert_eq!(edges(SAID), Some(3339));
        assert_eq!((statistic(""), edges("")), (None, None));
    }

    #[test]
    fn all_fuzzers_have_inputs_that_are_kept() {
        for name in names().unwrap() {
            assert!(!kept::read(&name).unwrap().is_empty(), "{name}");
        }
    }
}
