// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask hostile`: corrupted handovers between two kernels.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use luo_testbed::hostile::{self, Options, Progress, Results};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, KernelImage, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// What chooses the cases unless something else is asked for.
const SEED: u64 = 1;
/// As many cases with flipped bits as there are among all cases.
const FLIPS: usize = 400;

/// Corrupt handovers between two kernels, and judge what becomes of them
///
/// The exit code is 1 if the implementation in Rust does something that it must not.
#[derive(Args, Debug)]
pub struct Hostile {
    /// How many cases, of all kinds alike
    #[arg(long, value_name = "N", default_value_t = 200)]
    cases: usize,
    /// All cases
    #[arg(long, conflicts_with = "cases")]
    all: bool,
    /// The implementations
    #[arg(long, value_enum, default_value = "both")]
    flavor: Flavors,
    /// Decides which cases are chosen, and which bits are flipped
    #[arg(long, value_name = "S", default_value_t = SEED)]
    seed: u64,
    /// All cases with this text in their name, and what was seen of them
    #[arg(long, value_name = "CASE", conflicts_with = "cases")]
    only: Option<String>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Flavors {
    C,
    Rust,
    Both,
}

impl Hostile {
    /// Runs the command.
    ///
    /// # Errors
    /// A kernel cannot be built, or the machines cannot be run.
    pub fn run(&self) -> Result<ExitCode> {
        setup::ensure(&Cache::locate()?, &[Need::Machine])?;
        let flavors = match self.flavor {
            Flavors::C => vec![Flavor::C],
            Flavors::Rust => vec![Flavor::Rust],
            Flavors::Both => vec![Flavor::C, Flavor::Rust],
        };
        let image = |flavor| kernel::build(&self.source.request(flavor, Variant::Plain)?);
        let images = flavors.into_iter().map(image).collect::<Result<Vec<_>>>()?;
        let everything = self.all || self.only.is_some();
        let options = Options {
            cases: (!everything).then_some(self.cases),
            seed: self.seed,
            only: self.only.clone(),
            ..options()
        };
        let results = corrupt(&images, &options, &|how_far| eprintln!("{how_far}"))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&results)?);
        } else {
            println!("{results}");
        }
        Ok(if results.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// All cases.
#[must_use]
pub fn options() -> Options {
    Options {
        cases: None,
        flips: FLIPS,
        seed: SEED,
        only: None,
    }
}

/// Runs cases on these kernels, which have to be of different flavors.
///
/// # Errors
/// The machines cannot be run.
pub fn corrupt(
    images: &[KernelImage],
    options: &Options,
    progress: Progress<'_>,
) -> Result<Results> {
    let kernel = |image: &KernelImage| (image.flavor.into(), image.bzimage.clone());
    let logs = Cache::locate()?.folder("logs/hostile")?;
    let lab = hostile::lab(images.iter().map(kernel).collect(), logs)?;
    hostile::run(&lab, options, progress)
}
