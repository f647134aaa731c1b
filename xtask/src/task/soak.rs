// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask soak`: the long version of everything that looks for what is wrong.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::cache::Cache;
use crate::setup::{self, Need};
use crate::soak::countdown::Countdown;
use crate::soak::coverage;
use crate::soak::fuzz::{self, Fuzzer};
use crate::soak::machines::{Hostile, Load};
use crate::soak::model::Model;
use crate::soak::mutants::Mutants;
use crate::soak::program::Program;
use crate::soak::races::Races;
use crate::soak::report::Report;
use crate::soak::{self, Budget, Failure, Job, kept};

/// The searches that are no fuzzers.
const OTHERS: [&str; 6] = ["countdown", "model", "races", "mutants", "hostile", "load"];

/// Search for long for what is wrong, and say what was tried, reached and found
///
/// The searches are the fuzzers handover, ioctls, ops and protocol; model (random operations against the specification); races (models
/// of races in more schedules); and, each with an end of its own, countdown (every point of failure), mutants (locks taken
/// away), hostile (all corrupted handovers, on C and on ours) and load (kexecs under load, under lockdep).
///
/// The exit code is 1 if something was found; then there is a line that shows it again. What the fuzzers found worth keeping
/// stays in the cache, so that the next run goes on from there. After Ctrl-C the searches end their rounds, which takes a
/// minute or two, and what was tried is reported; a second one ends the program.
#[derive(Args, Debug)]
pub struct Soak {
    /// Time of a processor for each search that has no end
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Only this search; may be given more than once
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// How many kexecs in a row the search `load` goes through
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kexecs: u32,
    /// Replace the fuzzers' inputs in the checkout by the fewest that reach as many lines; what was found stays
    #[arg(long)]
    keep: bool,
    /// Only run the fuzzer that is named on this file
    #[arg(long, value_name = "FILE", requires = "targets", conflicts_with_all = ["keep", "json"])]
    replay: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Soak {
    /// Runs the command; the exit code is 1 if something was found, or something could not be run.
    ///
    /// # Errors
    /// The searches cannot be prepared, which is not the same as a finding.
    pub fn run(&self) -> Result<ExitCode> {
        let (fuzzers, others) = self.chosen(fuzz::names()?)?;
        let cache = Cache::locate()?;
        if let Some(input) = &self.replay {
            return self.replay(&cache, &fuzzers, &others, input);
        }
        let _lock;
        let mut prepared = Vec::new();
        if !fuzzers.is_empty() {
            setup::ensure(&cache, &[Need::Fuzz])?;
            _lock = cache.lock("fuzz")?;
            prepared = Fuzzer::prepare(&cache, &fuzzers)?;
        }
        let mut jobs = self.jobs(&cache, &others)?;
        jobs.extend(
            prepared
                .iter()
                .map(|it| Box::new(it.clone()) as Box<dyn Job>),
        );
        let budget = Budget::of(Duration::from_secs(self.minutes * 60));
        budget.stop_on_interrupt()?;
        let (outcomes, failures) = soak::run(&jobs, &budget);
        let mut report = Report {
            outcomes,
            failures,
            coverage: None,
        };
        if !prepared.is_empty() {
            match coverage::tools().and_then(|it| coverage::measure(&cache, &it, &prepared)) {
                Ok(coverage) => report.coverage = Some(coverage),
                Err(err) => report.failures.push(Failure {
                    name: "coverage".to_owned(),
                    error: format!("coverage cannot be measured: {err:#}"),
                }),
            }
        }
        if self.keep {
            for fuzzer in &prepared {
                let scratch = cache.scratch()?;
                fuzzer.minimise(scratch.path())?;
                kept::replace(fuzzer.name(), scratch.path())?;
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{report}");
        }
        Ok(exit_code(report.is_good()))
    }

    /// The names that were asked for: fuzzers, and others. Each once, in the order of running.
    fn chosen(&self, fuzzers: Vec<String>) -> Result<(Vec<String>, Vec<String>)> {
        let mut others = OTHERS.map(str::to_owned).to_vec();
        let is_known = |it: &&String| fuzzers.contains(it) || others.contains(it);
        if let Some(unknown) = self.targets.iter().find(|it| !is_known(it)) {
            bail!(
                "there is no search \"{unknown}\"; there are: {}, {}",
                fuzzers.join(", "),
                others.join(", ")
            );
        }
        let mut fuzzers = fuzzers;
        if !self.targets.is_empty() {
            fuzzers.retain(|it| self.targets.contains(it));
            others.retain(|it| self.targets.contains(it));
        }
        Ok((fuzzers, others))
    }

    fn replay(
        &self,
        cache: &Cache,
        fuzzers: &[String],
        others: &[String],
        input: &std::path::Path,
    ) -> Result<ExitCode> {
        if let Some(other) = others.first() {
            bail!("{other} has no inputs in files: it is no fuzzer");
        }
        setup::ensure(cache, &[Need::Fuzz])?;
        let _lock = cache.lock("fuzz")?;
        let mut is_good = true;
        for fuzzer in Fuzzer::prepare(cache, fuzzers)? {
            is_good &= fuzzer.replay(input)?.success();
        }
        Ok(exit_code(is_good))
    }

    /// Those that are no fuzzers, with everything built that runs beside others.
    fn jobs(&self, cache: &Cache, names: &[String]) -> Result<Vec<Box<dyn Job>>> {
        let properties = || Program::build(cache, "luo", "properties");
        let job = |name: &String| -> Result<Box<dyn Job>> {
            Ok(match name.as_str() {
                "countdown" => Box::new(Countdown(properties()?)),
                "model" => Box::new(Model(properties()?)),
                "races" => Box::new(Races(Program::build(cache, "luo-races", "races")?)),
                "mutants" => Box::new(Mutants(cache.clone())),
                "hostile" => Box::new(Hostile(cache.clone())),
                "load" => Box::new(Load {
                    cache: cache.clone(),
                    kexecs: self.kexecs,
                }),
                _ => unreachable!("{name} is not among the searches"),
            })
        };
        names.iter().map(job).collect()
    }
}

fn exit_code(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// What people type after `cargo xtask`.
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        soak: Soak,
    }

    fn chosen(words: &[&str]) -> Result<(Vec<String>, Vec<String>)> {
        let line = Line::try_parse_from([&["soak"], words].concat())?;
        line.soak.chosen(fuzz::names()?)
    }

    #[test]
    fn searches_are_chosen_by_name() {
        let (fuzzers, others) = chosen(&[]).unwrap();
        assert_eq!(
            (fuzzers, others.len()),
            (fuzz::names().unwrap(), OTHERS.len())
        );
        let words = ["--target", "load", "--target", "ops", "--target", "model"];
        let (fuzzers, others) = chosen(&words).unwrap();
        assert_eq!(
            (fuzzers, others),
            (vec!["ops".into()], vec!["model".into(), "load".into()])
        );
        let err = chosen(&["--target", "models"]).unwrap_err().to_string();
        assert!(
            err.contains("handover") && err.contains("countdown"),
            "{err}"
        );
    }

    #[test]
    fn the_help_names_every_search() {
        let mut command = Soak::augment_args(clap::Command::new("soak"));
        let help = command.render_long_help().to_string();
        let names = fuzz::names().unwrap();
        for name in names.iter().map(String::as_str).chain(OTHERS) {
            assert!(help.contains(name), "{name}");
        }
    }
}
