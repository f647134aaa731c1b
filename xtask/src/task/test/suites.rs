// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The suites of the test bed, on the kernels that they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use luo_testbed::demo::{self, DemoOptions};
use luo_testbed::hostile;
use luo_testbed::report::Report;
use luo_testbed::scenario::{Image, Scenario};
use luo_testbed::suites::{self, Kernels, Options};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, KernelImage, Series, Variant, selftests};
use crate::repo;
use crate::setup::{self, Need};
use crate::systemd;
use crate::task;
use crate::task::kernel::SourceArgs;
use crate::task::test::Tally;

/// What the demonstration is called among the tests.
const DEMO: &str = "demo/memcached on rust";
/// As many keys as the demonstration promises.
const KEYS: u32 = 200_000;
/// What the corrupted handovers are called among the tests, and how many there are.
const HOSTILE: &str = "hostile/40 corrupted handovers on rust";
const HOSTILE_CASES: usize = 40;
/// What the check of the exported symbols is called among the tests.
const EXPORTS: &str = "kernel/modules can call the entry points of rust";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The source; all series that are supported if it asks for nothing in particular.
    pub source: &'a SourceArgs,
    /// The variant of the kernels, unless it is the usual one.
    pub variant: Option<Variant>,
    /// Only scenarios whose name contains this.
    pub filter: Option<&'a str>,
    /// How many kexecs in a row the load goes through, and the operations of the model.
    pub kexecs: Option<u32>,
    /// Which operations of the model there are.
    pub seed: Option<u64>,
}

/// One run of the suites.
#[derive(Clone, Debug)]
struct Round<'a> {
    source: SourceArgs,
    variant: Variant,
    flavors: Vec<Flavor>,
    wanted: Wanted<'a>,
}

/// The rounds of a test: on the source and the variant that were asked for, or else on every series that is supported, one as
/// people run it and one under lockdep. A build costs minutes, so not every series has every variant by itself.
fn rounds(wanted: Wanted<'_>) -> Vec<Round<'_>> {
    let sources = if wanted.source.is_given() {
        vec![(wanted.source.clone(), Variant::Plain)]
    } else {
        vec![
            (SourceArgs::of(Series::V7_2), Variant::Plain),
            (SourceArgs::of(Series::V7_3), Variant::Lockdep),
        ]
    };
    let round = |(source, usual)| {
        let variant = wanted.variant.unwrap_or(usual);
        // Under KASAN a kernel more takes long to build.
        let flavors = match variant {
            Variant::Kasan => vec![Flavor::Rust],
            Variant::Plain | Variant::Lockdep => vec![Flavor::C, Flavor::Rust],
        };
        Round {
            source,
            variant,
            flavors,
            wanted,
        }
    };
    sources.into_iter().map(round).collect()
}

/// Builds the kernels and runs the suites on them, as far as they are asked for.
///
/// A kernel that cannot be built counts as one test that failed.
pub fn run(wanted: Wanted<'_>) -> Result<Tally> {
    let cache = Cache::locate()?;
    setup::ensure(&cache, &[Need::Kernel, Need::Machine, Need::Demo])?;
    let mut tally = Tally::default();
    for round in rounds(wanted) {
        let alone = [DEMO, HOSTILE].iter().any(|it| round.has_plain(it));
        if round.select().is_empty() && !alone && !round.has_modules() {
            continue;
        }
        match round.kernels(&cache) {
            Ok((ours, kernels)) => {
                let report = round.run(&cache, &ours, &kernels)?;
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

impl Round<'_> {
    /// The scenarios for this round; to know them takes no kernel.
    fn select(&self) -> Vec<Scenario> {
        let flavors: Vec<_> = self.flavors.iter().map(|&flavor| flavor.into()).collect();
        suites::select(&flavors, true, &self.options())
    }

    fn options(&self) -> Options {
        Options {
            filter: self.wanted.filter.map(str::to_owned),
            kexecs: self.wanted.kexecs,
            seed: self.wanted.seed,
            with_aids: self.variant != Variant::Plain,
            ..Options::default()
        }
    }

    /// Whether a test of plain kernels, as people run them, belongs to this round.
    fn has_plain(&self, test: &str) -> bool {
        self.variant == Variant::Plain && self.is_named(test)
    }

    fn is_named(&self, name: &str) -> bool {
        self.wanted.filter.is_none_or(|text| name.contains(text))
    }

    /// Whether its kernels support modules, and exporting a symbol does something: see lockdep.config.
    fn has_modules(&self) -> bool {
        self.variant != Variant::Plain && self.is_named(EXPORTS)
    }

    fn run(&self, cache: &Cache, ours: &KernelImage, kernels: &Kernels) -> Result<Report> {
        let scenarios = self.select().len();
        let version = &ours.version;
        eprintln!(
            "\nLinux {version}, {} kernels: {scenarios} scenarios",
            self.variant
        );
        let logs = cache.folder(format!("logs/suites-{version}-{}", self.variant))?;
        let mut report = Report::default();
        if scenarios > 0 {
            let options = Options {
                logs: Some(logs.clone()),
                ..self.options()
            };
            report = suites::run(kernels, &options)?;
        }
        if self.has_modules() {
            let started = Instant::now();
            report.add(EXPORTS, exports(ours), started.elapsed());
        }
        if self.has_plain(HOSTILE) {
            let started = Instant::now();
            report.add(HOSTILE, corrupt(ours), started.elapsed());
        }
        if self.has_plain(DEMO) {
            let started = Instant::now();
            report.add(DEMO, show(&ours.bzimage, logs), started.elapsed());
        }
        Ok(report)
    }

    /// A systemd, if there are scenarios for it. If it cannot be had, those fail, and the others run.
    fn systemd(&self, cache: &Cache) -> Option<Result<PathBuf, String>> {
        let asks_for_it = self.select().iter().any(|it| it.image == Image::Systemd);
        asks_for_it.then(|| systemd::root(cache).map_err(|err| format!("{err:#}")))
    }

    /// Builds the kernels; gives ours by itself, too.
    fn kernels(&self, cache: &Cache) -> Result<(KernelImage, Kernels)> {
        let build = |flavor| kernel::build(&self.source.request(flavor, self.variant)?);
        let c = if self.flavors.contains(&Flavor::C) {
            Some(build(Flavor::C)?.bzimage)
        } else {
            None
        };
        let ours = build(Flavor::Rust)?;
        let kernels = Kernels {
            c,
            rust: Some(ours.bzimage.clone()),
            // Both flavors come from one tree.
            selftests: selftests::selftests(&ours)?,
            systemd: self.systemd(cache),
        };
        Ok((ours, kernels))
    }
}

/// Looks for every symbol that the overlay exports in the table for modules.
fn exports(image: &KernelImage) -> Result<usize> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let source = read(&repo::linux().join("kernel/liveupdate/luo_exports.c"))?;
    let map = read(&image.system_map)?;
    let exported: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("EXPORT_SYMBOL_GPL(")?.strip_suffix(");"))
        .collect();
    ensure!(!exported.is_empty(), "the overlay exports nothing");
    for name in exported {
        let entry = format!(" __ksymtab_{name}");
        ensure!(
            map.lines().any(|line| line.ends_with(&entry)),
            "{name} is not exported, says {}",
            image.system_map.display()
        );
    }
    Ok(0)
}

/// Runs the demonstration on a kernel of ours; what is lost is an error.
fn show(kernel: &Path, logs: PathBuf) -> Result<usize> {
    let result = demo::run(&DemoOptions {
        kernel: kernel.to_owned(),
        flavor: Flavor::Rust.into(),
        keys: KEYS,
        updates: 1,
        quiet: true,
        logs: Some(logs),
    })?;
    ensure!(result.is_good(), "{result}");
    Ok(0)
}

/// Corrupts a few handovers between kernels of ours.
fn corrupt(ours: &KernelImage) -> Result<usize> {
    let options = hostile::Options {
        cases: Some(HOSTILE_CASES),
        ..task::hostile::options()
    };
    let results = task::hostile::corrupt(std::slice::from_ref(ours), &options, &|how_far| {
        eprintln!("{how_far}");
    })?;
    ensure!(results.is_good(), "{results}");
    Ok(0)
}
