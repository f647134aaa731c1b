// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Debian's packages of Linux's source.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::debian;
use crate::kernel::Series;
use crate::kernel::source::{Owner, Source};
use crate::run;
use crate::setup::disk;
use crate::ui::Step;

/// The suite that carries current kernels. Debian 12's keyring verifies it.
const SUITE: &str = "trixie-backports";

/// Fetches Debian's package of a series and unpacks it into the cache.
pub fn fetch(cache: &Cache, series: Series) -> Result<Source> {
    disk::require(cache.root(), disk::SOURCE_GIB, "the kernel source")?;
    let package = format!("linux-source-{series}");
    let packages = debian::download(cache, SUITE, &[&package]).with_context(|| {
        format!("{SUITE} may have moved on: --linux takes an unpacked tree instead")
    })?;
    unpack(cache, &packages.file(&package)?, series)
}

fn unpack(cache: &Cache, deb: &Path, series: Series) -> Result<Source> {
    let step = Step::start(format!("Unpacking Linux {series}"));
    let scratch = cache.scratch()?;
    let field = run::output(
        run::outside_cargo("dpkg-deb")
            .arg("--field")
            .arg(deb)
            .arg("Version"),
    )?;
    run::output(
        run::outside_cargo("dpkg-deb")
            .arg("--extract")
            .arg(deb)
            .arg(scratch.path()),
    )?;
    let name = format!("linux-source-{series}");
    let archive = scratch.path().join(format!("usr/src/{name}.tar.xz"));
    let dir = scratch.path().join("linux");
    fs::create_dir(&dir).context("cannot create a folder in the cache")?;
    let mut tar = run::outside_cargo("tar");
    tar.args([
        "--extract",
        "--strip-components=1",
        "--use-compress-program=xz -T0",
        "--file",
    ])
    .arg(&archive)
    .arg("--directory")
    .arg(&dir);
    run::output(&mut tar).with_context(|| format!("cannot unpack {name}"))?;
    Source::identify(&dir)?;
    let place = cache
        .folder("sources")?
        .join(format!("linux-{}", field.trim()));
    fs::rename(&dir, &place)
        .with_context(|| format!("cannot move the source to {}", place.display()))?;
    let source = Source::open(place, Owner::Cache)?;
    step.done(&source.version);
    Ok(source)
}
