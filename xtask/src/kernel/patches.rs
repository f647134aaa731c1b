// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The edits: unified diffs to files of the tree, applied by `patch` to copies of just those files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::run;

/// The files that a unified diff changes, with the first folder of their names taken off.
fn touched(name: &Path, diff: &[u8]) -> Result<BTreeSet<PathBuf>> {
    let text =
        std::str::from_utf8(diff).with_context(|| format!("{} is not UTF-8", name.display()))?;
    let mut files = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        // A removed line that starts with "-- " looks like a header, but no "+++ " follows it.
        let (Some(_), Some(new)) = (
            line.strip_prefix("--- "),
            lines.peek().and_then(|l| l.strip_prefix("+++ ")),
        ) else {
            continue;
        };
        let new = Path::new(new.split('\t').next().unwrap_or(new));
        let path: PathBuf = new.components().skip(1).collect();
        let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
        ensure!(
            plain && path.components().next().is_some(),
            "{}: bad file name {}",
            name.display(),
            new.display()
        );
        files.insert(path);
    }
    if files.is_empty() {
        bail!(
            "{} changes no file: it is not a unified diff",
            name.display()
        );
    }
    Ok(files)
}

/// Applies `edits` to the files they touch, as they stand in `planted` or else in `source`, and returns the results.
///
/// # Errors
/// An edit does not apply; the error names it and carries what `patch` said.
pub fn apply(
    edits: &[(PathBuf, Vec<u8>)],
    source: &Path,
    planted: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut files = BTreeSet::new();
    for (name, diff) in edits {
        files.extend(touched(name, diff)?);
    }
    for path in &files {
        let content = match planted.get(path) {
            Some(content) => content.clone(),
            None => fs::read(source.join(path)).with_context(|| {
                format!(
                    "an edit changes {}, which is not in the tree (new files lie in linux/ itself)",
                    path.display()
                )
            })?,
        };
        let copy = scratch.path().join(path);
        fs::create_dir_all(copy.parent().expect("it lies in the scratch folder"))
            .context("cannot create a folder")?;
        fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    for (name, _) in edits {
        let mut patch = run::outside_cargo("patch");
        patch
            .args([
                "--strip=1",
                "--batch",
                "--forward",
                "--no-backup-if-mismatch",
                "--reject-file=-",
                "--directory",
            ])
            .arg(scratch.path())
            .arg("--input")
            .arg(name);
        let out = patch.output().context("cannot run patch")?;
        if !out.status.success() {
            bail!(
                "{} does not apply to the tree:\n{}{}",
                name.display(),
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
    }
    let read = |path: PathBuf| {
        let content = fs::read(scratch.path().join(&path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path, content))
    };
    files.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str =
        "--- a/mm/Makefile\n+++ b/mm/Makefile\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n";

    fn run(text: &str, planted: &BTreeMap<PathBuf, Vec<u8>>) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mm")).unwrap();
        fs::write(dir.path().join("mm/Makefile"), text).unwrap();
        let name = dir.path().join("10.patch");
        fs::write(&name, DIFF).unwrap();
        apply(&[(name, DIFF.into())], dir.path(), planted)
    }

    #[test]
    fn an_edit_applies_to_the_source_or_to_what_the_overlay_planted() {
        let path = PathBuf::from("mm/Makefile");
        assert_eq!(
            run("zero\none\ntwo\nthree\n", &BTreeMap::new()).unwrap()[&path],
            b"zero\none\nTWO\nthree\n"
        );
        let planted = BTreeMap::from([(path.clone(), b"one\ntwo\nthree\nfour\n".to_vec())]);
        assert_eq!(
            run("", &planted).unwrap()[&path],
            b"one\nTWO\nthree\nfour\n"
        );
    }

    #[test]
    fn an_edit_that_does_not_fit_is_named() {
        let err = run("something else\n", &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(
            err.contains("10.patch does not apply") && err.contains("FAILED"),
            "{err}"
        );
    }

    #[test]
    fn an_edit_cannot_leave_the_tree() {
        assert!(touched(Path::new("x"), b"--- a/../etc\n+++ b/../etc\n@@\n").is_err());
        assert!(touched(Path::new("x"), b"hello\n").is_err());
    }
}
