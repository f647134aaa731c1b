// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask test`: everything that can be checked, and one line that counts it.

pub mod suites;
pub mod units;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::kernel::Variant;
use crate::repo;
use crate::task::kernel::SourceArgs;
use crate::task::tidy::show;
use crate::tidy::{self, Outcome};

/// Run all tests; the last line of standard output counts them
///
/// Unless a source is asked for, the suites run on all series that are supported.
#[derive(Args, Debug)]
pub struct Test {
    /// Only what needs no kernel
    #[arg(long)]
    quick: bool,
    /// Only tests whose name contains this text, and no checks of the text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// The suites on kernels of this variant only [default: plain on 7.2, lockdep on 7.3]
    #[arg(long, value_enum, conflicts_with = "quick")]
    variant: Option<Variant>,
    /// How many kexecs in a row the suites `load`, `model` and `agent` go through [default: 3]
    #[arg(long, value_name = "N", conflicts_with = "quick",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kexecs: Option<u32>,
    /// Which random operations the suite `model` does [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "quick")]
    seed: Option<u64>,
    #[command(flatten)]
    source: SourceArgs,
}

/// How many tests have run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that held.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    fn count(&mut self, outcome: &Outcome) {
        if outcome.objections.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl Test {
    /// Runs the command; the exit code is 1 if a test failed.
    ///
    /// # Errors
    /// A part could not be run at all, which is not the same as a test that failed: there is no count then.
    pub fn run(&self) -> Result<ExitCode> {
        let mut tally = Tally::default();
        if self.filter.is_none() {
            for outcome in tidy::check(repo::root())? {
                show(&outcome);
                tally.count(&outcome);
            }
        }
        tally.add(units::run(self.filter.as_deref())?);
        if !self.quick {
            tally.add(suites::run(suites::Wanted {
                source: &self.source,
                variant: self.variant,
                filter: self.filter.as_deref(),
                kexecs: self.kexecs,
                seed: self.seed,
            })?);
        }
        if let Some(filter) = &self.filter
            && tally == Tally::default()
        {
            bail!("no test has \"{filter}\" in its name");
        }
        println!("{} passed, {} failed", tally.passed, tally.failed);
        Ok(if tally.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
