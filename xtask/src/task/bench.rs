// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask bench`: what live update costs, C and Rust side by side.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use luo_testbed::bench::{self, BenchOptions, Part, Results};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// So much may two runs on the same tree differ.
const AGREEMENT_PERCENT: f64 = 1.0;

/// Count guest instructions of the C and the Rust implementation, in one run
#[derive(Args, Debug)]
pub struct Bench {
    /// Measure these parts only; may be given more than once
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<What>,
    /// How many sessions and files; may be given more than once
    #[arg(long = "count", value_name = "N", default_values_t = [500, 5_000, 50_000],
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    counts: Vec<u32>,
    /// How many MiB the memfds have; may be given more than once
    #[arg(long = "size", value_name = "MIB", default_values_t = [64, 512, 2048],
          value_parser = clap::value_parser!(u32).range(2..=8192))]
    sizes: Vec<u32>,
    /// Measure this implementation only
    #[arg(long, value_enum)]
    flavor: Option<Flavor>,
    /// What the kernels' command lines have beyond what the test bed needs
    #[arg(long, value_name = "TEXT", default_value = "quiet")]
    cmdline: String,
    /// Measure nothing, and show what an earlier run printed with --json; may be given more than once, for runs of different parts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "counts", "sizes", "flavor", "cmdline"])]
    read: Vec<PathBuf>,
    /// Fail if instructions differ by more than 1 % from what an earlier run printed with --json
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Draw cost against size into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Large memfds: the cost of a folio, and the memory taken
    Memory,
    /// Many sessions
    Sessions,
    /// Many files in one session
    Files,
    /// From reboot(2) to the next kernel, with many sessions or files
    Freeze,
    /// From reboot(2) to the next kernel's userspace, with memfds that are contiguous and others that are fragmented
    Boot,
    /// Where the time from reboot(2) to the claim goes with such memfds, by phases
    Phases,
    /// How long a workload is away, by phases, counted and by the clock
    Blackout,
    /// luod's share of that, with 100 clients
    Agent,
}

impl From<What> for Part {
    fn from(what: What) -> Self {
        match what {
            What::Memory => Self::Memory,
            What::Sessions => Self::Sessions,
            What::Files => Self::Files,
            What::Freeze => Self::Freeze,
            What::Boot => Self::Boot,
            What::Phases => Self::Phases,
            What::Blackout => Self::Blackout,
            What::Agent => Self::Agent,
        }
    }
}

impl Bench {
    /// Runs the command; the exit code is 1 if the run differs from an earlier one.
    ///
    /// # Errors
    /// A kernel cannot be built, or a machine does not do what is asked of it.
    pub fn run(&self) -> Result<ExitCode> {
        let mut results = read(&self.read)?;
        let measured = if self.read.is_empty() {
            self.measure(&mut results)
        } else {
            Ok(())
        };
        // What was measured has taken its time: it is shown even if the rest could not be.
        self.show(&results)?;
        measured?;
        if self.against.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let differences = results.differences(&read(&self.against)?);
        let largest = differences
            .first()
            .context("nothing was measured that could be compared")?;
        let count = differences.len();
        eprintln!("Of {count} figures that both runs have, the largest difference is {largest}");
        Ok(if largest.percent() <= AGREEMENT_PERCENT {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn show(&self, results: &Results) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(results)?);
        } else {
            println!("{results}");
        }
        if let Some(path) = &self.plot {
            results.plot(path)?;
        }
        Ok(())
    }

    fn measure(&self, results: &mut Results) -> Result<()> {
        let parts: Vec<_> = What::value_variants()
            .iter()
            .filter(|what| self.only.is_empty() || self.only.contains(what))
            .collect();
        let mut needs = vec![Need::Machine];
        needs.extend(parts.contains(&&What::Blackout).then_some(Need::Demo));
        setup::ensure(&Cache::locate()?, &needs)?;
        let image = |flavor: Flavor| {
            let built = kernel::build(&self.source.request(flavor, Variant::Plain)?)?;
            anyhow::Ok((flavor.into(), built.bzimage))
        };
        let flavors = self
            .flavor
            .map_or(vec![Flavor::C, Flavor::Rust], |it| vec![it]);
        let kernels = flavors.into_iter().map(image).collect::<Result<_>>()?;
        let parts: Vec<Part> = parts.into_iter().map(|&what| what.into()).collect();
        let lab = bench::lab(kernels, &parts, &self.cmdline)?;
        bench::run(
            &lab,
            &BenchOptions {
                parts,
                counts: self.counts.clone(),
                sizes_mib: self.sizes.clone(),
            },
            results,
        )
    }
}

/// All figures of some files.
fn read(paths: &[PathBuf]) -> Result<Results> {
    let mut all = Results::default();
    for path in paths {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let results = serde_json::from_str(&text)
            .with_context(|| format!("not figures of this benchmark: {}", path.display()))?;
        all.extend(results);
    }
    Ok(all)
}
