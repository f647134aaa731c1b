// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What real kernels go through, in emulated machines.

use anyhow::{Context, Result};
use luo_testbed::hostile::{OfKernel, Results};
use luo_testbed::suites::{self, Kernels};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Series, Variant};
use crate::setup::{self, Need};
use crate::soak::{Budget, Finding, Job, Outcome, Progress, process};
use crate::task;
use crate::task::kernel::SourceArgs;

/// All corrupted handovers, on C and on ours. What C makes of them is a figure, what ours must not do a finding.
#[derive(Debug)]
pub struct Hostile(pub Cache);

impl Job for Hostile {
    fn name(&self) -> &str {
        "hostile"
    }

    fn wants_the_machine(&self) -> bool {
        true
    }

    fn run(&self, _: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        setup::ensure(&self.0, &[Need::Kernel, Need::Machine])?;
        let before = process::used_so_far()?;
        let image = |flavor| kernel::build(&SourceArgs::default().request(flavor, Variant::Plain)?);
        let images = [image(Flavor::C)?, image(Flavor::Rust)?];
        let options = task::hostile::options();
        let results =
            task::hostile::corrupt(&images, &options, &|how_far| progress(how_far.into()))?;
        let mut outcome = Outcome::new(self.name(), "corrupted handovers");
        outcome.cpu_seconds = (process::used_so_far()? - before).as_secs_f64();
        count(&results, &mut outcome);
        if !results.is_good() {
            outcome.finding = Some(self.finding(&results)?);
        }
        Ok(outcome)
    }
}

impl Hostile {
    /// The worst of what ours did, in full.
    fn finding(&self, results: &Results) -> Result<Finding> {
        let ours = |it: &&OfKernel| it.flavor == Flavor::Rust.into();
        let notable = results
            .kernels
            .iter()
            .filter(ours)
            .flat_map(|it| &it.notable);
        let worst = notable.max_by_key(|it| it.verdict);
        let worst = worst.context("something is bad, and no case is")?;
        let input = self.0.folder("logs")?.join("soak-hostile.log");
        std::fs::write(&input, results.to_string())
            .with_context(|| format!("cannot write {}", input.display()))?;
        Ok(Finding {
            message: worst.to_string(),
            input,
            replay: worst.repeat.clone(),
        })
    }
}

/// Counts by kernel, reader and verdict: LUO itself, or a handler.
fn count(results: &Results, outcome: &mut Outcome) {
    for kernel in &results.kernels {
        outcome.number += kernel.cases as u64;
        for (structure, counts) in &kernel.counts {
            let of = if structure.is_luos() {
                "LUO"
            } else {
                structure.name()
            };
            for (verdict, number) in counts {
                let (flavor, verdict) = (kernel.flavor.name(), verdict.name());
                outcome.add(&format!("{flavor}, {of}: {verdict}"), *number as u64);
            }
        }
    }
}

/// One machine that goes through many kexecs while its programs are at work, under lockdep.
#[derive(Debug)]
pub struct Load {
    /// Where its kernel and its logs are.
    pub cache: Cache,
    /// How many.
    pub kexecs: u32,
}

/// What its scenario's name contains.
const LOAD: &str = "load/";
/// Its kernel.
const SERIES: Series = Series::V7_3;
const VARIANT: Variant = Variant::Lockdep;

impl Job for Load {
    fn name(&self) -> &str {
        "load"
    }

    fn wants_the_machine(&self) -> bool {
        true
    }

    fn run(&self, _: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        setup::ensure(&self.cache, &[Need::Kernel, Need::Machine])?;
        let before = process::used_so_far()?;
        let image = kernel::build(&SourceArgs::of(SERIES).request(Flavor::Rust, VARIANT)?)?;
        let logs = self.cache.folder("logs/soak-load")?;
        let kernels = Kernels {
            rust: Some(image.bzimage),
            ..Kernels::default()
        };
        let options = suites::Options {
            filter: Some(LOAD.into()),
            with_aids: true,
            kexecs: Some(self.kexecs),
            logs: Some(logs.clone()),
            ..suites::Options::default()
        };
        progress(format!("{} kexecs", self.kexecs));
        let report = suites::run(&kernels, &options)?;
        let mut outcome = Outcome::new(self.name(), "kexecs");
        outcome.cpu_seconds = (process::used_so_far()? - before).as_secs_f64();
        let failure = report.lines.iter().find_map(|it| it.failure.as_ref());
        if let Some(failure) = failure {
            outcome.finding = Some(Finding {
                message: failure.clone(),
                input: logs,
                replay: format!(
                    "cargo xtask test --variant {VARIANT} --series {SERIES} --filter {LOAD} --kexecs {}",
                    self.kexecs
                ),
            });
        } else {
            outcome.number = self.kexecs.into();
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use luo_testbed::hostile::{Notable, Structure, Verdict};

    fn notable(structure: Structure, verdict: Verdict) -> Notable {
        Notable {
            case: format!("{} {}", structure.name(), verdict.name()),
            structure,
            verdict,
            change: Vec::new(),
            seen: Vec::new(),
            repeat: "again".into(),
        }
    }

    /// A kernel with these cases, which are all notable.
    fn kernel(flavor: Flavor, cases: &[(Structure, Verdict)]) -> OfKernel {
        let mut kernel = OfKernel {
            flavor: flavor.into(),
            cases: cases.len(),
            counts: BTreeMap::new(),
            notable: Vec::new(),
        };
        for &(structure, verdict) in cases {
            let counts = kernel.counts.entry(structure).or_default();
            *counts.entry(verdict).or_default() += 1;
            kernel.notable.push(notable(structure, verdict));
        }
        kernel
    }

    /// Of upstream's and of ours.
    fn results(upstreams: &[(Structure, Verdict)], ours: &[(Structure, Verdict)]) -> Results {
        Results {
            seed: 1,
            kernels: vec![kernel(Flavor::C, upstreams), kernel(Flavor::Rust, ours)],
        }
    }

    #[test]
    fn the_worst_that_ours_does_is_found_and_what_upstream_does_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let search = Hostile(Cache::at(dir.path().to_owned()));
        let upstreams = [(Structure::Session, Verdict::Hang)];
        let warned = [(Structure::Memfd, Verdict::Warned)];
        assert!(results(&upstreams, &warned).is_good());
        for structure in Structure::ALL {
            let ours = [
                (Structure::Session, Verdict::Spread),
                (structure, Verdict::Crash),
                (Structure::Memfd, Verdict::WrongData),
            ];
            let bad = results(&upstreams, &ours);
            assert!(!bad.is_good());
            let finding = search.finding(&bad).unwrap();
            let expected = format!("crash: {} crash", structure.name());
            assert!(
                finding.message.starts_with(&expected),
                "{}",
                finding.message
            );
            assert_eq!(finding.replay, "again");
            assert!(finding.input.is_file());
        }
    }

    #[test]
    fn outcomes_are_counted_by_reader() {
        let mut outcome = Outcome::new("hostile", "corrupted handovers");
        let cases = [
            (Structure::Session, Verdict::Contained),
            (Structure::FileBlock, Verdict::Contained),
            (Structure::Memfd, Verdict::Crash),
        ];
        count(&results(&[], &cases), &mut outcome);
        let figures = outcome.figures.into_iter().collect::<Vec<_>>();
        let memfd = Structure::Memfd.name();
        let expected = [
            ("rust, LUO: contained".into(), 2),
            (format!("rust, {memfd}: crash"), 1),
        ];
        assert_eq!(
            (outcome.number, figures.as_slice()),
            (3, expected.as_slice())
        );
    }
}
