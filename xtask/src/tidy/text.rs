// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Checks of all text files, whatever their language.

use std::path::Path;

use crate::tidy::{Objection, SourceFile};

/// A file longer than this needs a reason, and there is none yet.
const MAX_LINES: usize = 400;
/// A licence stands among the first lines, below a `#!` at most.
const LICENCE_WITHIN: usize = 5;

/// Text that is not ours to write in: generated, a licence itself, or compared byte for byte.
fn is_verbatim(path: &Path) -> bool {
    path.starts_with("LICENSES")
        || path.file_name().is_some_and(|name| name == "Cargo.lock")
        || path
            .components()
            .any(|part| part.as_os_str() == "golden" || part.as_os_str() == "kept")
}

fn written(files: &[SourceFile]) -> impl Iterator<Item = &SourceFile> {
    files.iter().filter(|file| !is_verbatim(&file.path))
}

fn objection(file: &SourceFile, line: usize, what: impl Into<String>) -> Objection {
    Objection {
        file: file.path.clone(),
        line,
        what: what.into(),
    }
}

/// Every file has an SPDX line.
#[must_use]
pub fn licences(files: &[SourceFile]) -> Vec<Objection> {
    let tag = concat!("SPDX-License", "-Identifier: ");
    written(files)
        .filter(|file| {
            !file
                .text
                .lines()
                .take(LICENCE_WITHIN)
                .any(|line| line.contains(tag))
        })
        .map(|file| objection(file, 0, format!("no `{tag}` line at its top")))
        .collect()
}

/// No blanks at the ends of lines. A unified diff needs them: its context lines start with one.
#[must_use]
pub fn white_space(files: &[SourceFile]) -> Vec<Objection> {
    let mut objections = Vec::new();
    for file in written(files).filter(|file| file.path.extension().is_none_or(|e| e != "patch")) {
        for (number, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t']) {
                objections.push(objection(file, number + 1, "trailing white space"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            objections.push(objection(file, 0, "no newline at its end"));
        }
    }
    objections
}

/// No absolute path of a home or a working folder: the project must work wherever it is cloned.
#[must_use]
pub fn paths(files: &[SourceFile]) -> Vec<Objection> {
    // Taken apart, or this file would object to itself.
    let places = ["home", "root", "work", "Users"].map(|name| format!("/{name}/"));
    let mut objections = Vec::new();
    for file in written(files) {
        for (number, line) in file.text.lines().enumerate() {
            for place in places.iter().filter(|place| starts_a_path(line, place)) {
                let what = format!("the absolute path {place}… exists on one machine only");
                objections.push(objection(file, number + 1, what));
            }
        }
    }
    objections
}

/// Whether `place` stands in `line` as the beginning of a path, not in the middle of one.
fn starts_a_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.})/~*$".contains(c))
    })
}

/// No file is longer than a reader can keep in mind. A drawing is not read.
#[must_use]
pub fn lengths(files: &[SourceFile]) -> Vec<Objection> {
    let is_drawing = |file: &&SourceFile| file.path.extension().is_some_and(|it| it == "svg");
    let too_long = |file: &&SourceFile| file.text.lines().count() > MAX_LINES;
    written(files)
        .filter(|file| !is_drawing(file) && too_long(file))
        .map(|file| {
            let lines = file.text.lines().count();
            objection(
                file,
                0,
                format!("{lines} lines, {MAX_LINES} at most: split it"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<SourceFile> {
        vec![SourceFile {
            path: path.into(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn a_licence_is_demanded_where_one_can_stand() {
        let line = concat!("#!/bin/sh\n# SPDX-License", "-Identifier: MIT\n");
        assert_eq!(licences(&file("a.sh", line)), []);
        assert_eq!(licences(&file("a.sh", "echo\n")).len(), 1);
        assert_eq!(licences(&file("Cargo.lock", "version = 4\n")), []);
        assert_eq!(licences(&file("tests/golden/luo.hex", "00\n")), []);
    }

    #[test]
    fn trailing_blanks_are_found_outside_of_diffs() {
        assert_eq!(
            white_space(&file("a.rs", "x \ny\nz\t\n"))
                .iter()
                .map(|o| o.line)
                .collect::<Vec<_>>(),
            [1, 3]
        );
        assert_eq!(white_space(&file("a.patch", " x\n \n")), []);
        assert_eq!(white_space(&file("a.rs", "x")).len(), 1);
    }

    #[test]
    fn a_path_is_told_from_a_part_of_one() {
        let home = format!("see {}me/alice/x", "/ho");
        assert_eq!(paths(&file("a.md", &home)).len(), 1);
        let inner = format!("guest{}ot/init and $X{}ot/y", "/ro", "/ro");
        assert_eq!(paths(&file("a.md", &inner)).len(), 0);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(lengths(&file("a.rs", &"x\n".repeat(MAX_LINES))), []);
        assert_eq!(
            lengths(&file("a.rs", &"x\n".repeat(MAX_LINES + 1))).len(),
            1
        );
        assert_eq!(lengths(&file("a.svg", &"x\n".repeat(MAX_LINES + 1))), []);
    }
}
