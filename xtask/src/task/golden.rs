// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask golden`: what C hands over, for the tests to compare with.

use anyhow::{Context, Result};
use clap::Args;
use luo_testbed::golden;

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::repo;
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// Where tests look for it, below the top.
const FOLDER: &str = "crates/luo/tests/golden";

/// Dump anew what the C implementation hands over
#[derive(Args, Debug)]
pub struct Golden {
    #[command(flatten)]
    source: SourceArgs,
}

impl Golden {
    /// Runs the command.
    ///
    /// # Errors
    /// The kernel cannot be built, or the machine does not do what is asked of it.
    pub fn run(&self) -> Result<()> {
        setup::ensure(&Cache::locate()?, &[Need::Machine])?;
        let image = kernel::build(&self.source.request(Flavor::C, Variant::Plain)?)?;
        let path = repo::root().join(FOLDER).join("c.txt");
        std::fs::write(&path, golden::dump(&image.bzimage)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        Ok(())
    }
}
