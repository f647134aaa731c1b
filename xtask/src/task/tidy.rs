// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask tidy`: the checks of the text.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::repo;
use crate::tidy::{self, Outcome, budget::Budget};

/// Check formatting, lints, licences, and the budget of unsafe code
#[derive(Args, Debug)]
pub struct Tidy {
    /// Write the numbers of unsafe uses as they are into the budget first
    #[arg(long)]
    bless: bool,
}

impl Tidy {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode> {
        if self.bless {
            Budget::measure(&tidy::files(repo::root())?).store(repo::root())?;
        }
        let outcomes = tidy::check(repo::root())?;
        for outcome in &outcomes {
            show(outcome);
        }
        let clean = outcomes.iter().all(|outcome| outcome.objections.is_empty());
        Ok(if clean {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Prints the result of one check.
pub fn show(outcome: &Outcome) {
    let mark = if outcome.objections.is_empty() {
        "ok    "
    } else {
        "FAILED"
    };
    println!("{mark}  {}", outcome.check);
    for objection in &outcome.objections {
        println!("        {objection}");
    }
}
