// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Debian packages of other suites than the system's own, to be unpacked and not installed.
//!
//! The suites lie on the mirror that the system uses already; its own configuration stays as it is.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::cache::Cache;
use crate::run;
use crate::setup::apt;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages that have been downloaded; dropping this removes them.
#[derive(Debug)]
pub struct Packages {
    folder: TempDir,
}

/// Downloads packages of a suite.
///
/// # Errors
/// There is no mirror, the suite cannot be verified, or has no such package.
pub fn download(cache: &Cache, suite: &str, packages: &[&str]) -> Result<Packages> {
    let state = PathBuf::from("apt").join(suite);
    let folder = |name: &str| cache.folder(state.join(name));
    let (parts, lists, downloads) = (folder("parts")?, folder("lists")?, folder("cache")?);
    folder("lists/partial")?;
    folder("cache/archives/partial")?;
    let stanza = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n",
        mirror_address()?
    );
    let sources = parts.join("suite.sources");
    fs::write(&sources, stanza).with_context(|| format!("cannot write {}", sources.display()))?;

    let download = cache.scratch()?;
    let apt_get = |args: &[&str]| {
        let mut command = run::outside_cargo("apt-get");
        for (key, value) in [
            ("Dir::Etc::sourcelist", "/dev/null".into()),
            ("Dir::Etc::sourceparts", parts.clone()),
            ("Dir::State::lists", lists.clone()),
            ("Dir::Cache", downloads.clone()),
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
    let title = format!("Asking the Debian mirror for {suite}");
    let update = &mut apt_get(&["update", "--error-on=any"]);
    apt::run_apt(cache, update, &title)?;
    let title = match packages {
        [only] => format!("Downloading {only}"),
        [first, others @ ..] => format!("Downloading {first} and {} more", others.len()),
        [] => return Ok(Packages { folder: download }),
    };
    let download_all = &mut apt_get(&[&["download"], packages].concat());
    apt::run_apt(cache, download_all, &title)?;
    Ok(Packages { folder: download })
}

impl Packages {
    /// The file of a package.
    ///
    /// # Errors
    /// It is not among them.
    pub fn file(&self, package: &str) -> Result<PathBuf> {
        let start = format!("{package}_");
        let is_it = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(&start) && name.ends_with(".deb"))
        };
        let list = fs::read_dir(self.folder.path()).context("cannot list the download")?;
        let mut paths = list.flatten().map(|entry| entry.path());
        paths
            .find(is_it)
            .with_context(|| format!("apt-get reported success, but {package} is not there"))
    }
}

/// The address of the Debian mirror in the system's apt configuration.
fn mirror_address() -> Result<String> {
    let os = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = os
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no Debian release")?
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
        format!("apt has no source for Debian {codename}, so there is no mirror to ask")
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
