// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Copying a source tree into a working copy, at first as a whole, later what has changed.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::digest::Digest;
use crate::kernel::source::Owner;

/// A file or symbolic link of a tree, by its path relative to the top.
struct Entry {
    path: PathBuf,
    meta: Metadata,
}

/// Folders that hold build products where somebody has built inside the tree: with them there, make refuses to put
/// its products elsewhere. `.gitignore` cannot tell: Debian's ignores everything.
const PRODUCT_FOLDERS: &[&str] = &[
    "include/config",
    "include/generated",
    "arch/x86/include/generated",
];
/// Names of single products end like this.
const PRODUCT_ENDS: &[&str] = &[
    ".a", ".cmd", ".ko", ".mod", ".o", ".o.d", ".order", ".rlib", ".rmeta", ".so",
];

fn is_source(top: &Path, entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.file_type().is_dir() {
        let path = entry.path().strip_prefix(top).unwrap_or(entry.path());
        name != ".git"
            && !PRODUCT_FOLDERS
                .iter()
                .any(|folder| path == Path::new(folder))
    } else {
        name != ".git"
            && !name.starts_with(".config")
            && !PRODUCT_ENDS.iter().any(|end| name.ends_with(end))
    }
}

/// Everything in a tree but `.git` and build products.
fn entries(top: &Path) -> Result<Vec<Entry>> {
    let walk = WalkDir::new(top)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter();
    let mut found = Vec::new();
    for entry in walk.filter_entry(|entry| is_source(top, entry)) {
        let entry = entry.with_context(|| format!("cannot list {}", top.display()))?;
        if !entry.file_type().is_dir() {
            let path = entry
                .path()
                .strip_prefix(top)
                .expect("the walk starts at the top")
                .to_owned();
            let meta = entry
                .metadata()
                .with_context(|| format!("cannot examine {}", entry.path().display()))?;
            found.push(Entry { path, meta });
        }
    }
    Ok(found)
}

/// A digest of the names, sizes and times of everything in a tree.
pub fn stamp(top: &Path) -> Result<String> {
    let mut digest = Digest::new();
    for entry in entries(top)? {
        let (meta, name) = (entry.meta, entry.path.into_os_string());
        let state = format!("{} {}.{}", meta.len(), meta.mtime(), meta.mtime_nsec());
        digest.add(name.as_encoded_bytes(), state);
    }
    Ok(digest.finish())
}

/// Makes `copy`, which does not exist yet, out of `source`. Times are kept.
///
/// Files of a source that nobody edits are hard links: nothing here writes into a file of a working copy, it puts
/// another one in its place.
pub fn populate(source: &Path, owner: Owner, copy: &Path) -> Result<()> {
    for entry in entries(source)? {
        let (from, to) = (source.join(&entry.path), copy.join(&entry.path));
        make_parent(&to)?;
        if owner == Owner::Cache && entry.meta.is_file() && fs::hard_link(&from, &to).is_ok() {
            continue;
        }
        copy_entry(&from, &entry.meta, &to)?;
        if entry.meta.is_file() {
            let modified = entry
                .meta
                .modified()
                .context("this system keeps no file times")?;
            set_time(&to, modified)?;
        }
    }
    Ok(())
}

/// Brings `copy` up to date with a source that its user may have edited since, except for the files in `ours`.
///
/// A file that has changed gets the present time, whatever its own is: make compares it with what was built from the
/// file that stood there before.
pub fn update(source: &Path, copy: &Path, ours: &HashSet<PathBuf>) -> Result<()> {
    let wanted = entries(source)?;
    for entry in wanted.iter().filter(|entry| !ours.contains(&entry.path)) {
        let (from, to) = (source.join(&entry.path), copy.join(&entry.path));
        let same = match fs::symlink_metadata(&to) {
            Ok(meta) => {
                meta.file_type() == entry.meta.file_type()
                    && same_content(&from, &entry.meta, &to, &meta)?
            }
            Err(err) if err.kind() == ErrorKind::NotFound => false,
            Err(err) => {
                return Err(err).with_context(|| format!("cannot examine {}", to.display()));
            }
        };
        if !same {
            restore(source, copy, &entry.path)?;
        }
    }
    let wanted: HashSet<&Path> = wanted.iter().map(|entry| entry.path.as_path()).collect();
    for entry in entries(copy)? {
        if !wanted.contains(entry.path.as_path()) && !ours.contains(&entry.path) {
            remove(&copy.join(&entry.path))?;
        }
    }
    Ok(())
}

/// Puts the source's file, with the present time, where something else stood; removes it when the source has none.
pub fn restore(source: &Path, copy: &Path, path: &Path) -> Result<()> {
    let (from, to) = (source.join(path), copy.join(path));
    remove(&to)?;
    match fs::symlink_metadata(&from) {
        Ok(meta) => {
            make_parent(&to)?;
            copy_entry(&from, &meta, &to)?;
            if meta.is_file() {
                set_time(&to, SystemTime::now())
            } else {
                Ok(())
            }
        }
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot examine {}", from.display())),
    }
}

/// Puts a file with this content in place, by rename.
pub fn put(copy: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let to = copy.join(path);
    make_parent(&to)?;
    let parent = to.parent().expect("a file of a tree has a parent");
    let mut file = tempfile::Builder::new()
        .prefix(".luo-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)
        .with_context(|| format!("cannot create a file in {}", parent.display()))?;
    std::io::Write::write_all(&mut file, content)
        .with_context(|| format!("cannot write {}", to.display()))?;
    file.persist(&to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn same_content(from: &Path, from_meta: &Metadata, to: &Path, to_meta: &Metadata) -> Result<bool> {
    if !from_meta.is_file() {
        let read = |path: &Path| {
            fs::read_link(path).with_context(|| format!("cannot read {}", path.display()))
        };
        return Ok(read(from)? == read(to)?);
    }
    if from_meta.len() != to_meta.len() {
        return Ok(false);
    }
    let time = |meta: &Metadata| (meta.mtime(), meta.mtime_nsec());
    if time(from_meta) == time(to_meta) {
        return Ok(true);
    }
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(read(from)? == read(to)?)
}

fn copy_entry(from: &Path, meta: &Metadata, to: &Path) -> Result<()> {
    let copied = if meta.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to))
    } else {
        fs::copy(from, to).map(|_| ())
    };
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn set_time(path: &Path, time: SystemTime) -> Result<()> {
    File::open(path)
        .and_then(|file| file.set_times(FileTimes::new().set_modified(time)))
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().expect("a file of a tree has a parent");
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
