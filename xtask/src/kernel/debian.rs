// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Debian's packages of Linux's source.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::kernel::Series;
use crate::kernel::source::{Owner, Source};
use crate::run;
use crate::setup::{apt, disk};
use crate::ui::Step;

/// The suite that carries current kernels. Debian 12's keyring verifies it.
const SUITE: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches Debian's package of a series and unpacks it into the cache.
///
/// The suite lies on the mirror that the system uses already; the system's own configuration stays as it is.
pub fn fetch(cache: &Cache, series: Series) -> Result<Source> {
    disk::require(cache.root(), disk::SOURCE_GIB, "the kernel source")?;
    let apt_dir = cache.folder("apt")?;
    let parts = cache.folder("apt/parts")?;
    cache.folder("apt/lists/partial")?;
    cache.folder("apt/cache/archives/partial")?;
    let stanza = format!(
        "Types: deb\nURIs: {}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n",
        mirror_address()?
    );
    let sources = parts.join("kernel.sources");
    fs::write(&sources, stanza).with_context(|| format!("cannot write {}", sources.display()))?;

    let download = cache.scratch()?;
    let apt_get = |args: &[&str]| {
        let mut command = run::outside_cargo("apt-get");
        for (key, value) in [
            ("Dir::Etc::sourcelist", "/dev/null".into()),
            ("Dir::Etc::sourceparts", parts.clone()),
            ("Dir::State::lists", apt_dir.join("lists")),
            ("Dir::Cache", apt_dir.join("cache")),
        ] {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        }
        // As root apt fetches as a user of its own, who cannot write to a private cache.
        command
            .args(["-o", "APT::Sandbox::User=root"])
            .args(args)
            .current_dir(download.path());
        command
    };
    apt::run_apt(
        cache,
        &mut apt_get(&["update", "--error-on=any"]),
        &format!("Asking the Debian mirror for Linux {series}"),
    )?;
    let package = format!("linux-source-{series}");
    apt::run_apt(
        cache,
        &mut apt_get(&["download", &package]),
        &format!("Downloading {package}"),
    )
    .with_context(|| {
        format!("{SUITE} may have moved on: --linux takes an unpacked tree instead")
    })?;
    let deb = fs::read_dir(download.path())
        .context("cannot list the download")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get reported success, but {package} is not there"))?;
    unpack(cache, &deb, series)
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

/// The address of the Debian mirror in the system's apt configuration.
fn mirror_address() -> Result<String> {
    let os = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = os
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no Debian release: give a kernel tree by --linux")?
        .trim_matches('"');
    let mut query = Command::new("apt-get");
    query
        .args([
            "indextargets",
            "--format",
            "$(BASE_URI) $(REPO_URI) $(ORIGIN)",
            "Identifier: Packages",
        ])
        .stdin(Stdio::null());
    let targets = run::output(&mut query)?;
    pick_mirror(&targets, codename).with_context(|| {
        format!("apt has no source for Debian {codename}, so there is no mirror to ask; give a kernel tree by --linux")
    })
}

/// Picks the archive that serves the release itself; another vendor may serve a suite of the same name.
fn pick_mirror(targets: &str, codename: &str) -> Option<String> {
    let suffix = format!("/dists/{codename}/");
    let mut found: Vec<(bool, &str)> = targets
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (base, repo) = (words.next()?, words.next()?);
            let is_debian = words.next() == Some("Debian");
            base.ends_with(&suffix).then_some((!is_debian, repo))
        })
        .collect();
    found.sort_by_key(|(foreign, _)| *foreign);
    found.first().map(|(_, repo)| (*repo).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_that_serves_the_release() {
        let targets = "http://v.example/dists/bookworm/ http://v.example/ Vendor\n\
                       http://m.example/debian-security/dists/bookworm-security/ http://m.example/debian-security/ Debian\n\
                       http://m.example/debian/dists/bookworm/ http://m.example/debian/ Debian\n";
        assert_eq!(
            pick_mirror(targets, "bookworm").as_deref(),
            Some("http://m.example/debian/")
        );
        assert_eq!(pick_mirror(targets, "trixie"), None);
    }
}
