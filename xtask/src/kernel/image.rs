// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Finished kernels in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::config::Options;
use crate::kernel::overlay::Overlay;
use crate::kernel::source::Source;
use crate::kernel::toolchain::Toolchain;
use crate::kernel::tree::Tree;
use crate::kernel::{Flavor, KernelRequest, Series, Variant};

const BZIMAGE: &str = "bzImage";
const CONFIG: &str = "config";
const SYSTEM_MAP: &str = "System.map";

/// Changes when the way of building changes so that older images must not be found any more.
const RECIPE: &str = "1";

/// A bootable kernel.
#[derive(Clone, Debug, Serialize)]
pub struct KernelImage {
    /// The implementation in it.
    pub flavor: Flavor,
    /// The series it belongs to.
    pub series: Series,
    /// What it was built for.
    pub variant: Variant,
    /// Such as `7.2.12`.
    pub version: String,
    /// The image to boot or to kexec into.
    pub bzimage: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The addresses of its symbols.
    pub system_map: PathBuf,
    /// The working copy it was built from.
    pub tree: PathBuf,
}

/// The name of an image: a digest of everything that went into it.
#[must_use]
pub fn key(
    request: &KernelRequest,
    source: &Source,
    overlay: &Overlay,
    options: &Options,
    toolchain: &Toolchain,
) -> String {
    let mut digest = Digest::new();
    digest
        .add("recipe", RECIPE)
        .add("source", &source.stamp)
        .add("overlay", overlay.digest(request.flavor))
        .add("flavor", request.flavor.to_string())
        .add("variant", request.variant.to_string())
        .add("toolchain", &toolchain.versions);
    for fragment in options.fragments() {
        digest.add("fragment", fragment);
    }
    format!(
        "{}-{}-{}-{}",
        source.version,
        request.flavor,
        request.variant,
        digest.finish()
    )
}

impl KernelImage {
    /// Looks for an image in the cache.
    #[must_use]
    pub fn find(
        cache: &Cache,
        key: &str,
        request: &KernelRequest,
        source: &Source,
        tree: &Tree,
    ) -> Option<Self> {
        let dir = cache.root().join("images").join(key);
        // Without its tree the image cannot be debugged and its selftests cannot be built.
        (dir.is_dir() && tree.dir.is_dir()).then(|| Self::at(&dir, request, source, tree))
    }

    /// Puts what a build left into the cache.
    pub fn store(
        cache: &Cache,
        key: &str,
        request: &KernelRequest,
        source: &Source,
        tree: &Tree,
        build: &Path,
    ) -> Result<Self> {
        let dir = cache.folder("images")?.join(key);
        let scratch = cache.scratch()?;
        for (from, to) in [
            ("arch/x86/boot/bzImage", BZIMAGE),
            (".config", CONFIG),
            ("System.map", SYSTEM_MAP),
        ] {
            let from = build.join(from);
            fs::copy(&from, scratch.path().join(to))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        if !dir.is_dir() {
            fs::rename(scratch.keep(), &dir)
                .with_context(|| format!("cannot create {}", dir.display()))?;
        }
        Ok(Self::at(&dir, request, source, tree))
    }

    fn at(dir: &Path, request: &KernelRequest, source: &Source, tree: &Tree) -> Self {
        Self {
            flavor: request.flavor,
            series: source.series,
            variant: request.variant,
            version: source.version.clone(),
            bzimage: dir.join(BZIMAGE),
            config: dir.join(CONFIG),
            system_map: dir.join(SYSTEM_MAP),
            tree: tree.dir.clone(),
        }
    }
}
