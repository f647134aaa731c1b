// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The inputs of the checkout: a text file for each fuzzer, with an input on each line, in hexadecimal digits.
//!
//! An input below a comment of its own is something that was found, and stays; the others are made anew by
//! [`replace`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::soak::fuzz;

/// The lines at the top of a file.
const HEADER: &str = "# SPDX-License-Identifier: GPL-2.0-only\n\
                      # Inputs of the fuzzer, one to a line; `cargo xtask soak --keep` writes those that no comment stands before.\n";

fn path(name: &str) -> PathBuf {
    fuzz::folder().join("kept").join(name).with_extension("hex")
}

fn text(name: &str) -> Result<String> {
    let path = path(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The inputs that are kept for a fuzzer.
///
/// # Errors
/// The file cannot be read, or is not what it should be.
pub fn read(name: &str) -> Result<Vec<Vec<u8>>> {
    let text = text(name)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            decode(line).with_context(|| format!("{}: no input: {line}", path(name).display()))
        })
        .collect()
}

/// Writes them into files of their own, and nothing else into that folder.
///
/// # Errors
/// As [`read`], or the folder cannot be written.
pub fn unpack(name: &str, folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (number, input) in read(name)?.iter().enumerate() {
        let path = folder.join(number.to_string());
        fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Keeps the inputs in `folder`, and what was found.
///
/// # Errors
/// As [`read`], or a file cannot be read or written.
pub fn replace(name: &str, folder: &Path) -> Result<()> {
    let mut inputs = BTreeSet::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let input = fs::read(entry?.path()).context("cannot read an input")?;
        inputs.insert((input.len(), input));
    }
    let inputs = inputs.into_iter().map(|(_, input)| input);
    fs::write(path(name), merge(&text(name)?, inputs))
        .with_context(|| format!("cannot write the inputs of {name}"))
}

/// The text with these inputs, and those of `before` that have a comment.
fn merge(before: &str, inputs: impl Iterator<Item = Vec<u8>>) -> String {
    let mut text = HEADER.to_owned();
    let mut found = BTreeSet::new();
    let mut comments = String::new();
    for line in before.lines().skip(HEADER.lines().count()) {
        if line.starts_with('#') {
            comments += &format!("{line}\n");
        } else if !comments.is_empty() {
            text += &format!("{comments}{line}\n");
            comments.clear();
            found.insert(line.to_owned());
        }
    }
    for input in inputs {
        let line = encode(&input);
        if !line.is_empty() && !found.contains(&line) {
            text += &format!("{line}\n");
        }
    }
    text
}

fn encode(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes().chunks(2);
    digits
        .map(|pair| {
            u8::from_str_radix(str::from_utf8(pair).ok()?, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_stays_and_the_rest_is_replaced() {
        let before = format!("{HEADER}# It hung.\n# For ever.\n00ff\n01\n02\n");
        let inputs = [vec![], vec![0, 255], vec![3]].into_iter();
        let after = format!("{HEADER}# It hung.\n# For ever.\n00ff\n03\n");
        assert_eq!(merge(&before, inputs), after);
    }

    #[test]
    fn inputs_are_understood() {
        assert_eq!(decode("00ff7a"), Some(vec![0, 255, 0x7a]));
        assert_eq!(decode("00f"), None);
        assert_eq!(decode("zz"), None);
        assert_eq!(encode(&[0, 255]), "00ff");
    }
}
