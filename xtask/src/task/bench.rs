// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask bench`: what live update costs, C and Rust side by side.

use anyhow::Result;
use clap::{Args, ValueEnum};
use luo_testbed::bench::{self, BenchOptions, Part};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

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
}

impl From<What> for Part {
    fn from(what: What) -> Self {
        match what {
            What::Memory => Self::Memory,
            What::Sessions => Self::Sessions,
            What::Files => Self::Files,
            What::Freeze => Self::Freeze,
        }
    }
}

impl Bench {
    /// Runs the command.
    ///
    /// # Errors
    /// A kernel cannot be built, or a machine does not do what is asked of it.
    pub fn run(&self) -> Result<()> {
        setup::ensure(&Cache::locate()?, &[Need::Machine])?;
        let image = |flavor| kernel::build(&self.source.request(flavor, Variant::Plain)?);
        let lab = bench::lab(image(Flavor::C)?.bzimage, image(Flavor::Rust)?.bzimage)?;
        let parts = What::value_variants()
            .iter()
            .filter(|what| self.only.is_empty() || self.only.contains(what));
        let options = BenchOptions {
            parts: parts.map(|&what| what.into()).collect(),
            counts: self.counts.clone(),
            sizes_mib: self.sizes.clone(),
        };
        let results = bench::run(&lab, &options)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&results)?);
        } else {
            println!("{results}");
        }
        Ok(())
    }
}
