// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The cache: everything downloaded or built, outside the checkout.
//!
//! An entry's name carries a digest of what it was made from, so a hit needs no further check. Entries appear by
//! rename: a directory that exists is complete. Two runs at the same time wait for each other on a lock file.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A temporary folder this old belongs to no run any more.
const LEFTOVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The root of the cache.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Holds a lock of the cache until it is dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

impl Cache {
    /// The cache that `LUO_CACHE`, `XDG_CACHE_HOME` or `HOME` names, in this order.
    ///
    /// # Errors
    /// None of them is set, or the one that counts is a relative path.
    pub fn locate() -> Result<Self> {
        luo_testbed::cache::root().map(Self::at)
    }

    /// A cache at a place of the caller's.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where the cache lies; it may not exist yet.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of the cache, created if missing.
    pub fn folder(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// An empty folder on the cache's file system, removed when dropped; its contents can be renamed into place.
    pub fn scratch(&self) -> Result<TempDir> {
        let parent = self.folder("tmp")?;
        remove_leftovers(&parent);
        tempfile::Builder::new()
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a temporary folder in {}", parent.display()))
    }

    /// Waits until no other run works on `what`.
    pub fn lock(&self, what: &str) -> Result<CacheLock> {
        let path = self.folder("locks")?.join(what);
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another run that holds {}", path.display());
                file.lock()
                    .with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(err)) => {
                return Err(err).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(CacheLock { _file: file })
    }
}

/// Removes what runs that were killed have left behind. Whoever still works on something touched it today.
fn remove_leftovers(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > LEFTOVER) {
            // What cannot be removed is only disk space; the next run tries again.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_old_leftovers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let (old, new) = (
            cache.folder("tmp/old").unwrap(),
            cache.folder("tmp/new").unwrap(),
        );
        File::open(&old)
            .unwrap()
            .set_modified(SystemTime::now() - LEFTOVER * 2)
            .unwrap();
        let scratch = cache.scratch().unwrap();
        assert!(!old.exists() && new.exists() && scratch.path().exists());
    }
}
