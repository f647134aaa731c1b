// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What this project adds to a Linux tree: the files under `linux/` and the edits to existing files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::digest::Digest;
use crate::kernel::{Flavor, Series, patches};
use crate::repo;

/// Folders of `linux/` that are not part of a tree.
const NOT_PLANTED: &[&str] = &["config", "edits"];
/// Where the Rust implementation lies; the C flavor does not compile it.
const RUST_FLAVOR_ONLY: &[&str] = &["kernel/liveupdate", "mm"];

/// The overlay for one series.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// New files, by their path in the tree.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Unified diffs and their names, in the order in which they apply.
    edits: Vec<(PathBuf, Vec<u8>)>,
}

impl Overlay {
    /// Reads it from the checkout.
    pub fn load(series: Series) -> Result<Self> {
        Self::read(&repo::linux(), series)
    }

    /// Reads it from another folder of the same layout.
    pub fn read(top: &Path, series: Series) -> Result<Self> {
        let mut files = BTreeMap::new();
        // Depth 2: files directly in linux/ speak about the overlay, they are not part of it.
        let walk = WalkDir::new(top).min_depth(2).into_iter();
        for entry in walk {
            let entry = entry.context("cannot list the overlay")?;
            let path = entry
                .path()
                .strip_prefix(top)
                .expect("the walk starts at the top");
            if entry.file_type().is_file() && !NOT_PLANTED.iter().any(|dir| path.starts_with(dir)) {
                files.insert(path.to_owned(), read(entry.path())?);
            }
        }
        let mut edits = Vec::new();
        for dir in [
            top.join("edits"),
            top.join("edits").join(series.to_string()),
        ] {
            if dir.is_dir() {
                for entry in
                    fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?
                {
                    let path = entry
                        .with_context(|| format!("cannot list {}", dir.display()))?
                        .path();
                    if path.extension().is_some_and(|e| e == "patch") {
                        edits.push((path.clone(), read(&path)?));
                    }
                }
            }
        }
        edits.sort_by(|(a, _), (b, _)| (a.file_name(), a).cmp(&(b.file_name(), b)));
        Ok(Self { files, edits })
    }

    /// A digest of everything that can influence a kernel of this flavor.
    #[must_use]
    pub fn digest(&self, flavor: Flavor) -> String {
        let mut digest = Digest::new();
        for (path, content) in &self.files {
            let rust_only = path.extension().is_some_and(|e| e == "rs")
                && RUST_FLAVOR_ONLY.iter().any(|dir| path.starts_with(dir));
            if flavor == Flavor::Rust || !rust_only {
                digest.add(path.as_os_str().as_encoded_bytes(), content);
            }
        }
        for (path, content) in &self.edits {
            digest.add(
                path.file_name().unwrap_or_default().as_encoded_bytes(),
                content,
            );
        }
        digest.finish()
    }

    /// The content of every file that differs from `source` once the overlay is laid over it.
    ///
    /// # Errors
    /// An edit does not apply; the error names it.
    pub fn lay_over(&self, source: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut planted = self.files.clone();
        planted.extend(patches::apply(&self.edits, source, &self.files)?);
        Ok(planted)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(files: &[(&str, &str)]) -> (tempfile::TempDir, Overlay) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let overlay = Overlay::read(dir.path(), Series::V7_2).unwrap();
        (dir, overlay)
    }

    #[test]
    fn only_files_of_the_tree_are_planted_and_edits_come_in_the_order_of_their_names() {
        let (_dir, overlay) = overlay(&[
            ("README.md", ""),
            ("config/guest.config", ""),
            ("kernel/config/x.rs", "x"),
            ("edits/20-b.patch", ""),
            ("edits/7.2/10-a.patch", ""),
            ("edits/7.3/05-c.patch", ""),
        ]);
        assert_eq!(
            overlay.files.keys().collect::<Vec<_>>(),
            [Path::new("kernel/config/x.rs")]
        );
        let names: Vec<_> = overlay
            .edits
            .iter()
            .map(|(p, _)| p.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["10-a.patch", "20-b.patch"]);
    }

    #[test]
    fn the_c_flavor_does_not_depend_on_the_rust_implementation() {
        let digests = |luo: &str, helper: &str| {
            let (_dir, overlay) = overlay(&[
                ("kernel/liveupdate/luo.rs", luo),
                ("rust/kernel/kho.rs", helper),
            ]);
            (overlay.digest(Flavor::C), overlay.digest(Flavor::Rust))
        };
        let (c, rust) = digests("a", "a");
        assert_eq!(digests("b", "a").0, c);
        assert_ne!(digests("b", "a").1, rust);
        assert_ne!(digests("a", "b").0, c);
    }
}
