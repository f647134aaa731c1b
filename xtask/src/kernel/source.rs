// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The source of Linux, which nothing here ever changes: Debian's package or the user's tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::{Origin, Series, debian, mirror};

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
                    None => debian::fetch(cache, *series),
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

    pub(super) fn open(dir: PathBuf, owner: Owner) -> Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
