// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask vm`: a shell in a machine whose kernel can be replaced.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use luo_testbed::machine::Kernel;
use luo_testbed::vm::{self, VmOptions};

use crate::cache::Cache;
use crate::kernel::{self, Flavor, Variant};
use crate::setup::{self, Need};
use crate::task::kernel::SourceArgs;

/// Give a shell in a machine with live update, and kernels to go into
#[derive(Args, Debug)]
pub struct Vm {
    /// The implementation that boots
    #[arg(long, value_enum, default_value = "rust")]
    flavor: Flavor,
    /// Build the other implementation too, to go into it
    #[arg(long)]
    both: bool,
    /// What the kernels are for
    #[arg(long, value_enum, default_value = "plain")]
    variant: Variant,
    /// A program of this machine to take along, with its libraries; may be given more than once
    #[arg(long = "program", value_name = "PATH")]
    programs: Vec<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

impl Vm {
    /// Runs the command, until the machine ends.
    ///
    /// # Errors
    /// A kernel cannot be built, or the machine not be started.
    pub fn run(&self) -> Result<()> {
        setup::ensure(&Cache::locate()?, &[Need::Machine])?;
        let mut flavors = vec![self.flavor];
        if self.both {
            flavors.push(self.flavor.other());
        }
        let kernels = flavors
            .into_iter()
            .map(|flavor| self.kernel(flavor))
            .collect::<Result<_>>()?;
        let programs = self.programs.clone();
        vm::run(&VmOptions { kernels, programs })
    }

    fn kernel(&self, flavor: Flavor) -> Result<Kernel> {
        let image = kernel::build(&self.source.request(flavor, self.variant)?)?;
        Ok(Kernel {
            name: flavor.to_string(),
            image: image.bzimage,
        })
    }
}
