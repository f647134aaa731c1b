// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which lines of LUO the fuzzers' inputs reach, as the compiler counts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::repo;
use crate::run;
use crate::soak::Job as _;
use crate::soak::fuzz::{self, Fuzzer};
use crate::ui::Step;

/// Where LUO is, in the checkout.
const LUO: &str = "linux/kernel/liveupdate";

/// How many lines there are, and how many of them were reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// Lines with code.
    pub count: u64,
    /// Those that were reached.
    pub covered: u64,
}

/// What was reached.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Of all files.
    pub total: Lines,
    /// Of each.
    pub files: BTreeMap<String, Lines>,
}

/// The folder of LLVM's programs, as the toolchain has them.
///
/// # Errors
/// It has not, and rustup cannot add them.
pub fn tools() -> Result<PathBuf> {
    let sysroot = run::output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(repo::root()),
    )?;
    let tools = Path::new(sysroot.trim()).join(format!("lib/rustlib/{}/bin", fuzz::host()?));
    if !tools.join("llvm-cov").is_file() {
        run::output(
            Command::new("rustup")
                .args(["component", "add", "llvm-tools"])
                .current_dir(repo::root()),
        )?;
    }
    Ok(tools)
}

/// Runs all inputs of the fuzzers on programs that count.
///
/// # Errors
/// They cannot be built, or LLVM's programs fail.
pub fn measure(cache: &Cache, tools: &Path, fuzzers: &[Fuzzer]) -> Result<Coverage> {
    let mut step = Step::start("Measuring coverage");
    let log = cache.folder("logs")?.join("fuzz-coverage.log");
    let mut profiles = Vec::new();
    let mut programs = Vec::new();
    for fuzzer in fuzzers {
        let (mut cargo, target) = fuzz::cargo_fuzz(cache, "coverage", "coverage")?;
        cargo
            .arg(fuzzer.name())
            .arg(&fuzzer.corpus)
            .arg(&fuzzer.kept);
        run::logged(&mut cargo, &log, &mut step)?;
        let folder = fuzz::folder().join("coverage").join(fuzzer.name());
        profiles.push(folder.join("coverage.profdata"));
        programs.push(fuzz::program(&target, fuzzer.name())?);
    }
    let merged = cache.folder("fuzz/coverage")?.join("all.profdata");
    let mut merge = Command::new(tools.join("llvm-profdata"));
    run::output(
        merge
            .args(["merge", "--sparse"])
            .args(&profiles)
            .arg("-o")
            .arg(&merged),
    )?;
    let mut export = Command::new(tools.join("llvm-cov"));
    export
        .args(["export", "--summary-only", "--instr-profile"])
        .arg(&merged);
    for program in &programs {
        export.arg("--object").arg(program);
    }
    let coverage = parse(&run::output(&mut export)?)?;
    let folder = fuzz::folder().join("coverage");
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    step.done("");
    Ok(coverage)
}

/// Reads what `llvm-cov export` prints.
fn parse(json: &str) -> Result<Coverage> {
    #[derive(Deserialize)]
    struct Export {
        data: Vec<Unit>,
    }
    #[derive(Deserialize)]
    struct Unit {
        files: Vec<Source>,
    }
    #[derive(Deserialize)]
    struct Source {
        filename: String,
        summary: Summary,
    }
    #[derive(Deserialize)]
    struct Summary {
        lines: Lines,
    }
    let export: Export = serde_json::from_str(json).context("llvm-cov prints something unknown")?;
    let mut coverage = Coverage {
        total: Lines::default(),
        files: BTreeMap::new(),
    };
    for source in export.data.into_iter().flat_map(|unit| unit.files) {
        if let Some((_, name)) = source.filename.split_once(&format!("{LUO}/")) {
            let lines = source.summary.lines;
            coverage.total.count += lines.count;
            coverage.total.covered += lines.covered;
            coverage.files.insert(name.to_owned(), lines);
        }
    }
    Ok(coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_luo_count() {
        let json = r#"{"data":[{"files":[
            {"filename":"/x/linux/kernel/liveupdate/gate.rs","summary":{"lines":{"count":24,"covered":23,"percent":95.8}}},
            {"filename":"/x/crates/kernel/src/kho.rs","summary":{"lines":{"count":100,"covered":1,"percent":1}}}
        ],"totals":{}}],"type":"llvm.coverage.json.export","version":"3.1.0"}"#;
        let coverage = parse(json).unwrap();
        let lines = Lines {
            count: 24,
            covered: 23,
        };
        assert_eq!(coverage.total, lines);
        assert_eq!(
            coverage.files,
            BTreeMap::from([("gate.rs".to_owned(), lines)])
        );
    }
}
