// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Building guest kernels.
//!
//! ```text
//! source   fetched from Debian or the user's own tree; never changed
//!   │ mirror
//! tree     a working copy with the overlay planted and the edits applied
//!   │ configure, make
//! build    one O= folder per source and configuration, shared by both flavors
//!   │ copy
//! image    bzImage, .config and System.map under a key of everything that went in
//! ```
//!
//! [`build`] looks for the image first; only a miss touches the other three.

pub mod config;
pub mod debian;
pub mod image;
pub mod make;
pub mod mirror;
pub mod overlay;
pub mod patches;
pub mod selftests;
pub mod source;
pub mod toolchain;
pub mod tree;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::cache::Cache;
use crate::setup::{self, Need};
use overlay::Overlay;
use source::Source;
use toolchain::Toolchain;
use tree::Tree;

pub use image::KernelImage;

/// The implementation of the Live Update Orchestrator in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// Ours.
    Rust,
    /// Upstream's, untouched.
    C,
}

/// A series of Linux that the overlay supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
pub enum Series {
    /// Linux 7.2.y
    #[value(name = "7.2")]
    #[serde(rename = "7.2")]
    V7_2,
    /// Linux 7.3.y
    #[value(name = "7.3")]
    #[serde(rename = "7.3")]
    V7_3,
}

/// What a kernel is for; each has its own build folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The usual one
    Plain,
    /// With lockdep, kmemleak and other checks that cost little
    Lockdep,
    /// With KASAN, too: slow to build and slow to run
    Kasan,
}

/// Where the source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Debian's package of the newest point release.
    Debian(Series),
    /// A tree on this machine.
    Path(PathBuf),
}

/// A kernel to build.
#[derive(Clone, Debug)]
pub struct KernelRequest {
    /// The implementation.
    pub flavor: Flavor,
    /// The source.
    pub origin: Origin,
    /// The purpose.
    pub variant: Variant,
    /// The user's own options, merged over the project's in this order.
    pub fragments: Vec<PathBuf>,
}

impl KernelRequest {
    /// A plain kernel of a series, without options of the user's.
    #[must_use]
    pub fn new(flavor: Flavor, series: Series) -> Self {
        Self {
            flavor,
            origin: Origin::Debian(series),
            variant: Variant::Plain,
            fragments: Vec::new(),
        }
    }
}

impl Flavor {
    /// The one that it is compared with.
    pub const fn other(self) -> Self {
        match self {
            Self::Rust => Self::C,
            Self::C => Self::Rust,
        }
    }
}

impl From<Flavor> for luo_testbed::scenario::Flavor {
    fn from(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Rust => Self::Rust,
            Flavor::C => Self::C,
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::C => "c",
        })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V7_2 => "7.2",
            Self::V7_3 => "7.3",
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Lockdep => "lockdep",
            Self::Kasan => "kasan",
        })
    }
}

/// Returns the image that `request` describes, building whatever of it is not in the cache.
///
/// # Errors
/// The machine cannot be set up, the source cannot be had or is not supported, an edit or an option does not fit it, or
/// the build fails.
pub fn build(request: &KernelRequest) -> Result<KernelImage> {
    let cache = Cache::locate()?;
    setup::ensure(&cache, &[Need::Kernel])?;
    let source = Source::obtain(&cache, &request.origin)?;
    let overlay = Overlay::load(source.series)?;
    let toolchain = Toolchain::detect(&cache, request.variant)?;
    let options = config::Options::load(request)?;
    let key = image::key(request, &source, &overlay, &options, &toolchain);
    let tree = Tree::locate(&cache, &source)?;

    if let Some(found) = KernelImage::find(&cache, &key, request, &source, &tree) {
        return Ok(found);
    }
    let _lock = cache.lock(&format!("tree-{}", source.id))?;
    let kconfig = tree.prepare(&cache, &source, &overlay)?;
    if request.flavor == Flavor::Rust && !tree.has_choice()? {
        bail!(
            "the tree has no option {} after the edits in linux/edits/ were applied: \
             only --flavor c can be built from it",
            config::flavor_option(Flavor::Rust)
        );
    }
    let build = make::build(
        &cache, request, &source, &tree, &kconfig, &options, &toolchain,
    )?;
    KernelImage::store(&cache, &key, request, &source, &tree, &build)
}
