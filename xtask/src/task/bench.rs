// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask bench`: what live update costs, C and Rust side by side.

use anyhow::Result;
use clap::Args;
use luo_testbed::bench::{self, BenchOptions};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// Count guest instructions of the C and the Rust implementation, in one run
#[derive(Args, Debug)]
pub struct Bench {
    /// How many sessions and files; may be given more than once
    #[arg(long = "size", value_name = "N", default_values_t = [500, 2000, 50_000],
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    sizes: Vec<u32>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
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
        let progress = |what: &str| eprintln!("counting: {what}");
        let results = bench::run(
            &lab,
            &BenchOptions {
                sizes: self.sizes.clone(),
                progress,
            },
        )?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&results)?);
        } else {
            println!("{results}");
        }
        Ok(())
    }
}
