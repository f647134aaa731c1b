// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask demo`: a memcached whose kernel is replaced under it, by luod and luoctl.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use luo_testbed::demo::{self, DemoOptions};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// Fill a memcached, replace the kernel under it, and read every key back
#[derive(Args, Debug)]
pub struct Demo {
    /// The implementation of the Live Update Orchestrator
    #[arg(long, value_enum, default_value = "rust")]
    flavor: Flavor,
    /// How many keys to write
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// How many updates there are, with all keys read back after each
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    updates: u32,
    /// Print the result as JSON, and no progress of the demo
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

impl Demo {
    /// Runs the command; the exit code is 1 if anything was lost.
    ///
    /// # Errors
    /// A step cannot be done at all.
    pub fn run(&self) -> Result<ExitCode> {
        setup::ensure(&Cache::locate()?, &[Need::Machine, Need::Demo])?;
        let image = kernel::build(&self.source.request(self.flavor, Variant::Plain)?)?;
        let result = demo::run(&DemoOptions {
            kernel: image.bzimage,
            flavor: self.flavor.into(),
            keys: self.keys,
            updates: self.updates,
            quiet: self.json,
            logs: None,
        })?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&result)?);
        } else {
            println!("{result}");
        }
        Ok(if result.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
