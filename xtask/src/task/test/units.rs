// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The workspace's own tests, by `cargo test`, counted by what libtest prints.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::repo;
use crate::run;
use crate::task::test::Tally;
use crate::ui::Step;

/// Runs the tests of all crates whose name contains `filter`.
///
/// A crate that does not compile counts as one test that failed.
pub fn run(filter: Option<&str>) -> Result<Tally> {
    let log = Cache::locate()?.folder("logs")?.join("cargo-test.log");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("CARGO_TERM_COLOR", "never")
        .current_dir(repo::root());
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    let mut step = Step::start("Running the tests of the crates");
    let outcome = run::logged(&mut cargo, &log, &mut step);
    step.done("");
    let text =
        std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let (tally, failures) = parse(&text)?;
    for failure in &failures {
        println!("FAILED  {failure}");
    }
    match outcome {
        Err(err) if tally.failed == 0 => {
            println!("FAILED  the tests of the crates can be built and run\n{err:#}");
            Ok(Tally { failed: 1, ..tally })
        }
        Err(_) => {
            println!("        see {}", log.display());
            Ok(tally)
        }
        Ok(()) => Ok(tally),
    }
}

/// Adds up the summaries of all test programs, and lists the tests that failed.
fn parse(log: &str) -> Result<(Tally, Vec<String>)> {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for line in log.lines() {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            failures.push(name.to_owned());
        } else if let Some(summary) = line.strip_prefix("test result: ") {
            let number = |word: &str| {
                let (before, _) = summary.split_once(word)?;
                before
                    .trim_end()
                    .rsplit([' ', '.', ';'])
                    .next()?
                    .parse::<usize>()
                    .ok()
            };
            let (Some(passed), Some(failed)) = (number(" passed;"), number(" failed;")) else {
                bail!("cargo test printed a summary of an unknown form: {line}");
            };
            tally.add(Tally { passed, failed });
        }
    }
    Ok((tally, failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up() {
        let log = "test a::b ... ok\ntest a::c ... FAILED\n\
                   test result: FAILED. 20 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.04s\n\
                   test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s\n";
        let (tally, failures) = parse(log).unwrap();
        assert_eq!(
            tally,
            Tally {
                passed: 23,
                failed: 1
            }
        );
        assert_eq!(failures, ["a::c"]);
    }

    #[test]
    fn an_unknown_summary_is_not_taken_for_success() {
        assert!(parse("test result: splendid\n").is_err());
    }
}
