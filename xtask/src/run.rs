// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running programs: quietly with their output, or for long with a log and progress.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _, pipe};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::ui::Step;

/// How much of a failed program's log is shown.
const TAIL_LINES: usize = 40;
/// How many of the lines that say "error" are shown before it.
const ERROR_LINES: usize = 20;

/// A program that sees nothing of the Rust toolchain this task runs under, and speaks English.
pub fn outside_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("RUST")
            || text.starts_with("CARGO")
            || text.starts_with("MAKE")
            || text == "MFLAGS"
        {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a program and returns its standard output.
///
/// # Errors
/// It could not be started, or it failed; the error carries what it wrote to standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !out.status.success() {
        bail!(
            "{name} failed ({}):\n{}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim_end()
        );
    }
    String::from_utf8(out.stdout)
        .with_context(|| format!("{name} wrote something that is not UTF-8"))
}

/// Runs a program that takes long: its output goes to `log`, its last line to `step`.
///
/// # Errors
/// It could not be started, or it failed; the error carries the end of the log, the lines in it that speak of
/// errors, and its path.
pub fn logged(command: &mut Command, log: &Path, step: &mut Step) -> Result<()> {
    let name = describe(command);
    let (reader, writer) = pipe().context("cannot create a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    // The command still holds the pipe's writing end: without this the reader would wait for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut file = BufWriter::new(
        File::create(log).with_context(|| format!("cannot create {}", log.display()))?,
    );
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {name}"))?;
        file.write_all(&line)
            .and_then(|()| file.write_all(b"\n"))
            .with_context(|| format!("cannot write {}", log.display()))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        step.tick(&format!("{} lines, {}", lines.len() + 1, line.trim()));
        lines.push(line);
    }
    file.flush()
        .with_context(|| format!("cannot write {}", log.display()))?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {name}"))?;
    if !status.success() {
        bail!(
            "{name} failed ({status}).\n{}\nThe whole log: {}",
            excerpt(&lines),
            log.display()
        );
    }
    Ok(())
}

/// The lines of a log that tell why a program failed: those with an error in them, then the last ones.
fn excerpt(lines: &[String]) -> String {
    let tail_at = lines.len().saturating_sub(TAIL_LINES);
    let (head, tail) = lines.split_at(tail_at);
    let errors: Vec<&str> = head
        .iter()
        .map(String::as_str)
        .filter(|line| {
            ["error:", "error[", "ERROR", "*** "]
                .iter()
                .any(|sign| line.contains(sign))
        })
        .take(ERROR_LINES)
        .collect();
    let mut text = String::new();
    if !errors.is_empty() {
        text = format!("Errors:\n  {}\n", errors.join("\n  "));
    }
    text + "Last lines:\n  " + &tail.join("\n  ")
}

/// A command line of half a page is cut down to the program and what it was asked to do, which stands last.
fn describe(command: &Command) -> String {
    let words = |args: &[&OsStr]| {
        args.iter()
            .map(|arg| arg.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let args: Vec<&OsStr> = command.get_args().collect();
    let program = command.get_program().to_string_lossy();
    match args.as_slice() {
        [.., a, b] if args.len() > 4 => format!("{program} ... {}", words(&[a, b])),
        _ => format!("{program} {}", words(&args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_early_errors_and_the_end_of_the_log() {
        let mut lines: Vec<String> = (0..100).map(|n| format!("CC file{n}.o")).collect();
        lines[3] = "a.c:1: error: no such thing".into();
        let text = excerpt(&lines);
        assert!(
            text.contains("a.c:1: error")
                && text.contains("CC file99.o")
                && !text.contains("CC file50.o")
        );
    }

    #[test]
    fn a_failed_program_names_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let err = logged(&mut command, &log, &mut Step::start("test"))
            .unwrap_err()
            .to_string();
        assert!(
            err.contains("out\n  err") && err.contains(&*log.to_string_lossy()),
            "{err}"
        );
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\nerr\n");
    }
}
