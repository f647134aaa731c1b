// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask kernel`: build a kernel and print where it is.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::kernel::source::Source;
use crate::kernel::{self, Flavor, KernelRequest, Origin, Series, Variant};

/// Build a guest kernel; the last line of standard output is the image's path
#[derive(Args, Debug)]
pub struct Kernel {
    /// The implementation of the Live Update Orchestrator
    #[arg(long, value_enum, default_value = "rust")]
    flavor: Flavor,
    /// What the kernel is for
    #[arg(long, value_enum, default_value = "plain")]
    variant: Variant,
    #[command(flatten)]
    source: SourceArgs,
    /// Print a description of the image as JSON instead of its path
    #[arg(long)]
    json: bool,
}

/// Which Linux, for every command that builds one.
#[derive(Args, Clone, Debug, Default)]
pub struct SourceArgs {
    /// The series to fetch from Debian [default: 7.2]
    #[arg(long, value_enum)]
    series: Option<Series>,
    /// A Linux tree of your own, which stays as it is, instead of Debian's
    #[arg(long, value_name = "PATH")]
    linux: Option<PathBuf>,
    /// Options of your own, merged over the project's; may be given more than once
    #[arg(long = "config", value_name = "FRAGMENT")]
    fragments: Vec<PathBuf>,
}

impl SourceArgs {
    /// Debian's source of a series.
    #[must_use]
    pub fn of(series: Series) -> Self {
        Self {
            series: Some(series),
            ..Self::default()
        }
    }

    /// Whether the user has asked for anything in particular.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.series.is_some() || self.linux.is_some() || !self.fragments.is_empty()
    }

    /// The request for a kernel of this source.
    ///
    /// # Errors
    /// The tree given is not of the series given.
    pub fn request(&self, flavor: Flavor, variant: Variant) -> Result<KernelRequest> {
        let origin = match (&self.linux, self.series) {
            (None, series) => Origin::Debian(series.unwrap_or(Series::V7_2)),
            (Some(path), None) => Origin::Path(path.clone()),
            (Some(path), Some(series)) => {
                let found = Source::identify(path)?;
                if found != series {
                    bail!(
                        "{} is of the series {found}, not {series}: leave out --series",
                        path.display()
                    );
                }
                Origin::Path(path.clone())
            }
        };
        Ok(KernelRequest {
            flavor,
            origin,
            variant,
            fragments: self.fragments.clone(),
        })
    }
}

impl Kernel {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let image = kernel::build(&self.source.request(self.flavor, self.variant)?)?;
        if self.json {
            println!("{}", serde_json::to_string(&image)?);
        } else {
            println!("{}", image.bzimage.display());
        }
        Ok(())
    }
}
