// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The source of Linux, which nothing here ever changes: Debian's package or the user's tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::{Origin, Series, mirror};
use crate::run;
use crate::setup::{apt, disk};
use crate::ui::Step;

/// The suite that carries current kernels. Debian 12's keyring verifies it.
const SUITE: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked source.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names the source in the cache.
    pub id: String,
    /// Stands for the content: changes when a file does.
    pub stamp: String,
    /// Such as `7.2.12`.
    pub version: String,
    /// The series it belongs to.
    pub series: Series,
    /// Its top folder.
    pub dir: PathBuf,
    /// Who may change it.
    pub owner: Owner,
}

/// Who may change a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It lies in the cache and never changes.
    Cache,
    /// The user may edit it between two builds.
    User,
}

impl Source {
    /// Finds or fetches a source.
    ///
    /// # Errors
    /// The user's tree is not a supported Linux, or Debian's package cannot be fetched or unpacked.
    pub fn obtain(cache: &Cache, origin: &Origin) -> Result<Self> {
        match origin {
            Origin::Path(path) => Self::of_user(path),
            Origin::Debian(series) => {
                if let Some(source) = Self::newest_cached(cache, *series)? {
                    return Ok(source);
                }
                let _lock = cache.lock(&format!("source-{series}"))?;
                match Self::newest_cached(cache, *series)? {
                    Some(source) => Ok(source),
                    None => fetch(cache, *series),
                }
            }
        }
    }

    /// The series of an unpacked tree.
    ///
    /// # Errors
    /// It is not a supported Linux.
    pub fn identify(dir: &Path) -> Result<Series> {
        identify(dir).map(|(series, _)| series)
    }

    fn of_user(path: &Path) -> Result<Self> {
        let dir = path
            .canonicalize()
            .with_context(|| format!("no such tree: {}", path.display()))?;
        let mut source = Self::open(dir, Owner::User)?;
        let place = Digest::new()
            .add("path", source.dir.as_os_str().as_encoded_bytes())
            .finish();
        source.id = format!("user-{place}");
        source.stamp = mirror::stamp(&source.dir)?;
        Ok(source)
    }

    fn newest_cached(cache: &Cache, series: Series) -> Result<Option<Self>> {
        let mut found: Vec<Self> = Vec::new();
        for entry in
            fs::read_dir(cache.folder("sources")?).context("cannot list the cached sources")?
        {
            let dir = entry.context("cannot list the cached sources")?.path();
            let name = dir
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with(&format!("linux-{series}.")) {
                found.push(Self::open(dir, Owner::Cache)?);
            }
        }
        let point = |s: &Self| {
            s.version
                .rsplit('.')
                .next()
                .and_then(|n| n.parse::<u32>().ok())
        };
        Ok(found.into_iter().max_by_key(|s| (point(s), s.id.clone())))
    }

    fn open(dir: PathBuf, owner: Owner) -> Result<Self> {
        let (series, version) = identify(&dir)?;
        let id = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            stamp: id.clone(),
            id,
            version,
            series,
            dir,
            owner,
        })
    }
}

/// Reads the version of a tree and checks that it is one the overlay fits.
fn identify(dir: &Path) -> Result<(Series, String)> {
    let makefile = dir.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| {
        format!(
            "{} is not a Linux tree: cannot read its Makefile",
            dir.display()
        )
    })?;
    let value = |name: &str| {
        text.lines().take(10).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let (Some(major), Some(minor), Some(point)) =
        (value("VERSION"), value("PATCHLEVEL"), value("SUBLEVEL"))
    else {
        bail!(
            "{} is not a Linux tree: its Makefile does not say which version it is",
            dir.display()
        );
    };
    let version = format!(
        "{major}.{minor}.{point}{}",
        value("EXTRAVERSION").unwrap_or_default()
    );
    let series = match (major.as_str(), minor.as_str()) {
        ("7", "2") => Series::V7_2,
        ("7", "3") => Series::V7_3,
        _ => bail!(
            "{} is Linux {version}; only 7.2.y and 7.3.y are supported",
            dir.display()
        ),
    };
    ensure!(
        dir.join("kernel/liveupdate/luo_core.c").is_file(),
        "{} is Linux {version} without a Live Update Orchestrator: it has no kernel/liveupdate/luo_core.c",
        dir.display()
    );
    Ok((series, version))
}

/// Fetches Debian's package of a series and unpacks it into the cache.
///
/// The suite lies on the mirror that the system uses already; the system's own configuration stays as it is.
fn fetch(cache: &Cache, series: Series) -> Result<Source> {
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
    let (_, version) = identify(&dir)?;
    let place = cache
        .folder("sources")?
        .join(format!("linux-{}", field.trim()));
    fs::rename(&dir, &place)
        .with_context(|| format!("cannot move the source to {}", place.display()))?;
    step.done(&version);
    Source::open(place, Owner::Cache)
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

    fn tree(minor: &str, with_luo: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "# SPDX\nVERSION = 7\nPATCHLEVEL = {minor}\nSUBLEVEL = 4\nEXTRAVERSION = -rc1\n"
        );
        fs::write(dir.path().join("Makefile"), text).unwrap();
        for file in with_luo {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn trees_are_told_by_version_and_by_what_they_hold() {
        let luo = ["kernel/liveupdate/luo_core.c"];
        assert_eq!(
            identify(tree("3", &luo).path()).unwrap(),
            (Series::V7_3, "7.3.4-rc1".to_owned())
        );
        assert!(
            identify(tree("1", &luo).path())
                .unwrap_err()
                .to_string()
                .contains("only 7.2.y and 7.3.y")
        );
        assert!(
            identify(tree("2", &[]).path())
                .unwrap_err()
                .to_string()
                .contains("luo_core.c")
        );
        assert!(
            identify(Path::new("/proc"))
                .unwrap_err()
                .to_string()
                .contains("not a Linux tree")
        );
    }
}
