// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The checks that the Rust toolchain brings along: formatting and lints.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::tidy::{Outcome, SourceFile};

/// How much of a tool's complaint is shown.
const MAX_LINES: usize = 80;

/// Runs rustfmt and clippy over the workspace, and rustfmt over the overlay, whose edition is the kernel's.
///
/// # Errors
/// cargo cannot be started.
pub fn check(top: &Path, files: &[SourceFile]) -> Result<Vec<Outcome>> {
    let lints = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    let mut outcomes = vec![
        tool(
            top,
            "the crates are formatted (cargo fmt)",
            "cargo",
            &["fmt", "--all", "--", "--check", "-l"],
        )?,
        tool(
            top,
            "the fuzzers are formatted (cargo fmt)",
            "cargo",
            &[
                "fmt",
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--",
                "--check",
                "-l",
            ],
        )?,
        tool(top, "clippy has nothing to say", "cargo", &lints)?,
    ];
    let overlay = files
        .iter()
        .filter(|file| file.is_rust() && file.path.starts_with("linux"));
    let mut args = vec!["--check", "-l", "--edition", "2021"];
    args.extend(overlay.filter_map(|file| file.path.to_str()));
    if args.len() > 4 {
        outcomes.push(tool(
            top,
            "the overlay is formatted (rustfmt --edition 2021)",
            "rustfmt",
            &args,
        )?);
    }
    Ok(outcomes)
}

fn tool(top: &Path, check: &str, program: &str, args: &[&str]) -> Result<Outcome> {
    let out = Command::new(program)
        .args(args)
        .env("CARGO_TERM_COLOR", "never")
        .current_dir(top)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let mut objections = Vec::new();
    if !out.status.success() {
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let mut seen = HashSet::new();
        objections = said
            .lines()
            .map(|line| relative(line, top))
            // rustfmt names a file once for each place in it.
            .filter(|line| line.is_empty() || seen.insert(line.clone()))
            .take(MAX_LINES)
            .collect();
        if objections.is_empty() {
            objections.push(format!("{program} {} failed ({})", args[0], out.status));
        }
    }
    Ok(Outcome {
        check: check.to_owned(),
        objections,
    })
}

fn relative(line: &str, top: &Path) -> String {
    line.strip_prefix(&format!("{}/", top.display()))
        .unwrap_or(line)
        .to_owned()
}
