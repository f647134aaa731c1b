// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask soak`: the searches that go on for as long as one likes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::cache::Cache;
use crate::setup::{self, Need};
use crate::soak::coverage::{self, Coverage};
use crate::soak::fuzz::{self, Fuzzer};
use crate::soak::{self, Job, Outcome, kept};

/// Run the fuzzers for long, and say what they have reached and found
///
/// All inputs worth keeping stay in the cache, so that the next run goes on from there.
#[derive(Args, Debug)]
pub struct Soak {
    /// Time of a processor for each
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Only this one; may be given more than once
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Replace the inputs of the checkout by the fewest that reach as many lines; what was found stays
    #[arg(long)]
    keep: bool,
    /// Only run the target on this file
    #[arg(long, value_name = "FILE", requires = "targets", conflicts_with_all = ["keep", "json"])]
    replay: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    outcomes: Vec<Outcome>,
    /// Absent where the toolchain has no programs to measure it with.
    coverage: Option<Coverage>,
}

impl Soak {
    /// Runs the command; the exit code is 1 if something was found.
    ///
    /// # Errors
    /// A fuzzer cannot be built or run, which is not the same as a finding.
    pub fn run(&self) -> Result<ExitCode> {
        let cache = Cache::locate()?;
        setup::ensure(&cache, &[Need::Fuzz])?;
        let _lock = cache.lock("fuzz")?;
        let fuzzers = Fuzzer::prepare(&cache, &self.names()?)?;
        if let Some(input) = &self.replay {
            let mut fails = false;
            for fuzzer in &fuzzers {
                fails |= !fuzzer.replay(input)?.success();
            }
            return Ok(exit_code(fails));
        }
        let jobs: Vec<&dyn Job> = fuzzers.iter().map(|it| it as &dyn Job).collect();
        let outcomes = soak::run(&jobs, Duration::from_secs(self.minutes * 60))?;
        let found = outcomes.iter().any(|it| it.finding.is_some());
        let coverage = match coverage::tools() {
            Ok(tools) => Some(coverage::measure(&cache, &tools, &fuzzers)?),
            Err(err) => {
                eprintln!("no coverage of lines, only of libFuzzer's edges: {err:#}");
                None
            }
        };
        if self.keep {
            for fuzzer in &fuzzers {
                let scratch = cache.scratch()?;
                fuzzer.minimise(scratch.path())?;
                kept::replace(fuzzer.name(), scratch.path())?;
            }
        }
        let report = Report { outcomes, coverage };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.show();
        }
        Ok(exit_code(found))
    }

    fn names(&self) -> Result<Vec<String>> {
        let all = fuzz::names()?;
        if let Some(unknown) = self.targets.iter().find(|it| !all.contains(it)) {
            bail!(
                "there is no target \"{unknown}\"; there are: {}",
                all.join(", ")
            );
        }
        Ok(if self.targets.is_empty() {
            all
        } else {
            self.targets.clone()
        })
    }
}

fn exit_code(found: bool) -> ExitCode {
    if found {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl Report {
    fn show(&self) {
        println!(
            "{:<12}{:>14}{:>10}{:>10}{:>10}",
            "target", "executions", "CPU, s", "per s", "edges"
        );
        for it in &self.outcomes {
            let (rate, cpu) = (it.rate(), it.cpu_seconds);
            println!(
                "{:<12}{:>14}{cpu:>10.0}{rate:>10.0}{:>10}",
                it.name, it.executions, it.edges
            );
        }
        if let Some(Coverage { total, files }) = &self.coverage {
            println!(
                "\nLines of LUO reached: {} of {}",
                total.covered, total.count
            );
            for (file, lines) in files.iter().filter(|(_, it)| it.covered < it.count) {
                println!("  {file}: {} of {}", lines.covered, lines.count);
            }
        }
        for (name, finding) in self
            .outcomes
            .iter()
            .filter_map(|it| Some((&it.name, it.finding.as_ref()?)))
        {
            println!(
                "\nFOUND by {name}: {}\n  input:  {}\n  replay: {}",
                finding.message,
                finding.input.display(),
                finding.replay
            );
        }
        let found = self
            .outcomes
            .iter()
            .filter(|it| it.finding.is_some())
            .count();
        println!("\n{found} found");
    }
}
