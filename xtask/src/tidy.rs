// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Checks of the text: what compilers do not check.
//!
//! Each check reports the places that it objects to. The list of files is git's, so that build products and local
//! notes do not count; a file that is new but not yet added does.

pub mod budget;
pub mod safety;
pub mod text;
pub mod tokens;
pub mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// A place in a file that a check objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Relative to the top.
    pub file: PathBuf,
    /// Counted from one; zero stands for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

/// The result of one check.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was checked, as a person says it.
    pub check: String,
    /// Empty if the check passed.
    pub objections: Vec<String>,
}

/// A file that git tracks or would track, with its text; binary files are left out.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the top.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl SourceFile {
    /// Whether it is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "rs")
    }
}

/// Reads the files of the checkout.
pub fn files(top: &Path) -> Result<Vec<SourceFile>> {
    let listing = run::output(
        Command::new("git")
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
            ])
            .current_dir(top),
    )?;
    let mut files = Vec::new();
    for name in listing.split_terminator('\0') {
        let path = top.join(name);
        // A file deleted but still in the index, a symbolic link: nothing to read.
        if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes)
            && !text.contains('\0')
        {
            files.push(SourceFile {
                path: name.into(),
                text,
            });
        }
    }
    Ok(files)
}

/// Runs every check.
///
/// # Errors
/// The files cannot be read, the budget is not valid TOML, or a tool cannot be started.
pub fn check(top: &Path) -> Result<Vec<Outcome>> {
    let files = files(top)?;
    let budget = budget::Budget::load(top)?;
    let mut outcomes = vec![
        outcome(
            "unsafe code stays within its budget (cargo xtask tidy --bless rewrites it)",
            &budget.check(&files),
        ),
        outcome(
            "every use of unsafe code says why it is sound",
            &safety::check(&files),
        ),
        outcome("every file names its licence", &text::licences(&files)),
        outcome("no trailing white space", &text::white_space(&files)),
        outcome("no path of somebody's machine", &text::paths(&files)),
        outcome("no file is too long", &text::lengths(&files)),
    ];
    outcomes.extend(toolchain::check(top, &files)?);
    Ok(outcomes)
}

fn outcome(check: &str, objections: &[Objection]) -> Outcome {
    let show = |o: &Objection| match o.line {
        0 => format!("{}: {}", o.file.display(), o.what),
        line => format!("{}:{line}: {}", o.file.display(), o.what),
    };
    Outcome {
        check: check.to_owned(),
        objections: objections.iter().map(show).collect(),
    }
}
