// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The workspace's test programs, optimised, run for long.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::cache::Cache;
use crate::cargo;
use crate::repo;
use crate::run;
use crate::soak::process::{self, Ended};
use crate::soak::{Finding, Outcome};
use crate::ui::Step;

/// How cargo optimises for a long run.
const PROFILE: [&str; 2] = ["--profile", "soak"];

/// A test program that is built.
#[derive(Clone, Debug)]
pub struct Program {
    package: &'static str,
    path: PathBuf,
    logs: PathBuf,
}

/// Which of its tests run, and on what their long versions depend.
#[derive(Clone, Debug)]
pub struct Selection {
    /// What the tests' names contain.
    pub filter: String,
    /// Only the test of just this name.
    pub exact: bool,
    /// Variables and their values.
    pub variables: Vec<(&'static str, String)>,
}

impl Program {
    /// Builds the integration test `test` of a package.
    ///
    /// # Errors
    /// As [`cargo::test_program`], or the cache cannot be written.
    pub fn build(cache: &Cache, package: &'static str, test: &str) -> Result<Self> {
        let step = Step::start(format!("Building the tests of {package}"));
        let path = cargo::test_program(package, test, |cargo| {
            cargo.args(PROFILE).current_dir(repo::root())
        })?;
        step.done("");
        Ok(Self {
            package,
            path,
            logs: cache.folder("logs")?,
        })
    }

    /// The names of all tests.
    ///
    /// # Errors
    /// The program does not list them.
    pub fn tests(&self) -> Result<Vec<String>> {
        let list = run::output(Command::new(&self.path).args(["--list", "--format", "terse"]))?;
        let names = list.lines().filter_map(|it| it.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs tests in a process of their own, one after the other, and adds time and finding to `outcome`; gives what they
    /// printed.
    ///
    /// # Errors
    /// The process cannot be run to its end.
    pub fn run(&self, selection: &Selection, outcome: &mut Outcome) -> Result<String> {
        let log = self.logs.join(format!("soak-{}.log", outcome.name));
        let mut command = Command::new(&self.path);
        command
            .arg(&selection.filter)
            .args(selection.exact.then_some("--exact"))
            // Printed at the end, that is on lines of its own.
            .args(["--show-output", "--test-threads=1"])
            .envs(
                selection
                    .variables
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .current_dir(repo::root());
        let Ended { status, said, cpu } = process::run(&mut command, &log)?;
        outcome.cpu_seconds += cpu.as_secs_f64();
        if !status.success() {
            outcome.finding = Some(Finding {
                message: process::panic_message(&said)
                    .unwrap_or_else(|| format!("ended with {status}")),
                input: log,
                replay: self.replay(selection),
            });
        }
        Ok(said)
    }

    fn replay(&self, selection: &Selection) -> String {
        let variables: String = selection
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect();
        let [option, profile] = PROFILE;
        let (package, filter) = (self.package, &selection.filter);
        let exact = if selection.exact { " -- --exact" } else { "" };
        format!("{variables}cargo test {option} {profile} --package {package} {filter}{exact}")
    }
}

/// Where a search by lot begins: somewhere else each time.
///
/// # Errors
/// The kernel has no random numbers.
pub fn seed() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).context("no random numbers")?;
    Ok(u64::from_ne_bytes(bytes).to_string())
}

/// The number before `word` in a line.
#[must_use]
pub fn number_before(line: &str, word: &str) -> Option<u64> {
    let (before, _) = line.split_once(word)?;
    before.trim_end().rsplit([' ', ':']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_can_be_seen_again() {
        let program = Program {
            package: "luo",
            path: PathBuf::new(),
            logs: PathBuf::new(),
        };
        let mut selection = Selection {
            filter: "model::a".into(),
            exact: false,
            variables: vec![("LUO_MODEL_CASES", "9".into())],
        };
        let command = "LUO_MODEL_CASES=9 cargo test --profile soak --package luo model::a";
        assert_eq!(program.replay(&selection), command);
        selection.exact = true;
        assert_eq!(program.replay(&selection), format!("{command} -- --exact"));
    }

    #[test]
    fn numbers_are_found() {
        let line = "flb::a: 2058 schedules, all with 4 preemptions";
        assert_eq!(number_before(line, " schedules"), Some(2058));
        assert_eq!(number_before(line, " preemptions"), Some(4));
        assert_eq!(number_before(line, " cases"), None);
    }
}
