// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The budget of unsafe code: how many uses each file has. It may only be changed on purpose.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::tidy::tokens::{self, Kind};
use crate::tidy::{Objection, SourceFile};

/// Where it stands, relative to the top.
const FILE: &str = "linux/unsafe-budget.toml";
const HEADER: &str = "\
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Uses of `unsafe` in each Rust file; a file that is not listed has none. `cargo xtask tidy` fails when a number
# differs, and `cargo xtask tidy --bless` writes the numbers as they are: a growth then shows in review.

";

/// Uses in one file, by kind; a missing number is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Count {
    #[serde(skip_serializing_if = "is_zero")]
    blocks: usize,
    #[serde(skip_serializing_if = "is_zero")]
    impls: usize,
    #[serde(skip_serializing_if = "is_zero")]
    declarations: usize,
    #[serde(skip_serializing_if = "is_zero")]
    attributes: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it by reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Count {
    fn of(text: &str) -> Result<Self> {
        let mut count = Self::default();
        for found in tokens::uses(text)? {
            *match found.kind {
                Kind::Block => &mut count.blocks,
                Kind::Impl => &mut count.impls,
                Kind::Declaration => &mut count.declarations,
                Kind::Attribute => &mut count.attributes,
            } += 1;
        }
        Ok(count)
    }

    fn by_kind(self) -> [(&'static str, usize); 4] {
        [
            ("blocks", self.blocks),
            ("impls", self.impls),
            ("declarations", self.declarations),
            ("attributes", self.attributes),
        ]
    }
}

/// The numbers allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Budget {
    files: BTreeMap<PathBuf, Count>,
}

impl Budget {
    /// Reads it from the checkout.
    ///
    /// # Errors
    /// It is not valid.
    pub fn load(top: &Path) -> Result<Self> {
        let path = top.join(FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    /// The numbers as they are; files that are not Rust after all are left to the check.
    #[must_use]
    pub fn measure(files: &[SourceFile]) -> Self {
        let count = |file: &SourceFile| Some((file.path.clone(), Count::of(&file.text).ok()?));
        let files = files.iter().filter(|f| f.is_rust()).filter_map(count);
        Self {
            files: files
                .filter(|(_, count)| *count != Count::default())
                .collect(),
        }
    }

    /// Writes it to the checkout.
    pub fn store(&self, top: &Path) -> Result<()> {
        let path = top.join(FILE);
        // An inline table for each file, so that a change is a change of one line.
        let mut text = HEADER.to_owned();
        for (file, count) in &self.files {
            let parts: Vec<String> = count
                .by_kind()
                .into_iter()
                .filter(|(_, number)| *number != 0)
                .map(|(kind, number)| format!("{kind} = {number}"))
                .collect();
            text += &format!("\"{}\" = {{ {} }}\n", file.display(), parts.join(", "));
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Compares it with the files.
    #[must_use]
    pub fn check(&self, files: &[SourceFile]) -> Vec<Objection> {
        let actual = Self::measure(files);
        let paths: std::collections::BTreeSet<&PathBuf> =
            self.files.keys().chain(actual.files.keys()).collect();
        let mut objections = Vec::new();
        for path in paths {
            let of = |budget: &Self| budget.files.get(path).copied().unwrap_or_default();
            for ((kind, allowed), (_, found)) in
                of(self).by_kind().into_iter().zip(of(&actual).by_kind())
            {
                let advice = match found.cmp(&allowed) {
                    std::cmp::Ordering::Equal => continue,
                    std::cmp::Ordering::Greater => "do without, or say in review why not",
                    std::cmp::Ordering::Less => "good: tighten the budget",
                };
                let what = format!("{found} unsafe {kind}, {allowed} in the budget: {advice}");
                objections.push(Objection {
                    file: path.clone(),
                    line: 0,
                    what,
                });
            }
        }
        objections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<SourceFile> {
        vec![SourceFile {
            path: "linux/a.rs".into(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn growth_shrinking_and_unlisted_files_are_told() {
        let budget: Budget = toml::from_str("\"linux/a.rs\" = { blocks = 1 }").unwrap();
        assert_eq!(budget.check(&file("fn f() { unsafe { g() } }")), []);
        assert!(
            budget.check(&file("fn f() { unsafe {} unsafe {} }"))[0]
                .what
                .contains("2 unsafe blocks, 1 in")
        );
        assert!(budget.check(&file(""))[0].what.contains("tighten"));
        assert!(budget.check(&[])[0].what.contains("tighten"));
        let empty = Budget::default();
        assert_eq!(
            empty
                .check(&file(
                    "unsafe impl Send for S {} #[unsafe(no_mangle)] fn f() {}"
                ))
                .len(),
            2
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("linux")).unwrap();
        let budget = Budget::measure(&file("unsafe fn f() { unsafe {} unsafe {} }"));
        budget.store(top.path()).unwrap();
        assert_eq!(Budget::load(top.path()).unwrap(), budget);
    }

    #[test]
    fn an_unknown_kind_in_the_budget_is_refused() {
        assert!(toml::from_str::<Budget>("\"a.rs\" = { blobs = 1 }").is_err());
    }
}
