// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The suites of the test bed, on the kernels that they need.

use anyhow::Result;
use luo_testbed::suites::{self, Kernels, Options};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Series, Variant, selftests};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;
use crate::task::test::Tally;

/// One run of the suites.
#[derive(Clone, Debug)]
struct Round {
    source: SourceArgs,
    variant: Variant,
    flavors: Vec<Flavor>,
}

/// The rounds of a test: on the source that was asked for, or else on all that are supported.
///
/// With the debugging aids only ours is run: what C does wrong is known and judged in the plain round.
fn rounds(source: &SourceArgs) -> Vec<Round> {
    let both = vec![Flavor::C, Flavor::Rust];
    let round = |source: &SourceArgs, variant, flavors| Round {
        source: source.clone(),
        variant,
        flavors,
    };
    let of = |source: &SourceArgs| {
        [
            round(source, Variant::Plain, both.clone()),
            round(source, Variant::Debug, vec![Flavor::Rust]),
        ]
    };
    if source.is_given() {
        return of(source).into();
    }
    let mut rounds = Vec::from(of(&SourceArgs::of(Series::V7_2)));
    rounds.push(round(&SourceArgs::of(Series::V7_3), Variant::Plain, both));
    rounds
}

/// Builds the kernels and runs the suites on them, or those scenarios whose name contains `filter`.
///
/// A kernel that cannot be built counts as one test that failed.
pub fn run(source: &SourceArgs, filter: Option<&str>) -> Result<Tally> {
    let cache = Cache::locate()?;
    setup::ensure(&cache, &[Need::Kernel, Need::Machine])?;
    let mut tally = Tally::default();
    for round in rounds(source) {
        let wanted = round.scenarios(filter);
        if wanted == 0 {
            continue;
        }
        match round.kernels() {
            Ok((version, kernels)) => {
                eprintln!(
                    "\nLinux {version}, {} kernels: {wanted} scenarios",
                    round.variant
                );
                let logs = cache.folder(format!("logs/suites-{version}-{}", round.variant))?;
                let filter = filter.map(str::to_owned);
                let options = Options {
                    filter,
                    logs: Some(logs),
                    ..Options::default()
                };
                let report = suites::run(&kernels, &options)?;
                tally.add(Tally {
                    passed: report.passed(),
                    failed: report.failed(),
                });
            }
            Err(err) => {
                println!(
                    "FAILED  the {} kernels can be built\n{err:#}",
                    round.variant
                );
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

impl Round {
    /// How many scenarios there are for this round; to know it takes no kernel.
    fn scenarios(&self, filter: Option<&str>) -> usize {
        let flavors: Vec<_> = self.flavors.iter().map(|&flavor| flavor.into()).collect();
        suites::all(&flavors, true)
            .iter()
            .filter(|scenario| filter.is_none_or(|text| scenario.name.contains(text)))
            .count()
    }

    /// Builds the kernels, and gives the version of Linux that they are.
    fn kernels(&self) -> Result<(String, Kernels)> {
        let mut kernels = Kernels::default();
        let mut version = String::new();
        for &flavor in &self.flavors {
            let image = kernel::build(&self.source.request(flavor, self.variant)?)?;
            // Both flavors come from one tree.
            if kernels.selftests.is_empty() {
                kernels.selftests = selftests::selftests(&image)?;
            }
            match flavor {
                Flavor::C => kernels.c = Some(image.bzimage),
                Flavor::Rust => kernels.rust = Some(image.bzimage),
            }
            version = image.version;
        }
        Ok((version, kernels))
    }
}
