// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Test programs, built by cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Compiles the integration test `test` of `package`, and gives the program. `how` says where and with what.
///
/// # Errors
/// It does not compile; the error carries what the compiler says.
pub fn test_program(
    package: &str,
    test: &str,
    how: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "test",
        "--package",
        package,
        "--test",
        test,
        "--no-run",
        "--quiet",
        "--message-format",
        "json",
    ]);
    let out = how(&mut cargo)
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&out.stdout);
    let messages: Vec<Value> = said
        .lines()
        .filter_map(|it| serde_json::from_str(it).ok())
        .collect();
    if !out.status.success() {
        let errors: String = messages.iter().filter_map(error).collect();
        let rest = String::from_utf8_lossy(&out.stderr);
        bail!("{package} does not compile:\n{errors}{rest}");
    }
    let program = messages.iter().find_map(|it| executable(it, test));
    program.with_context(|| format!("cargo names no program for the test {test} of {package}"))
}

fn error(message: &Value) -> Option<String> {
    let compiler = message.get("message")?;
    (compiler["level"] == "error")
        .then(|| compiler["rendered"].as_str().unwrap_or_default().to_owned())
}

fn executable(message: &Value, test: &str) -> Option<PathBuf> {
    (message["target"]["name"] == test)
        .then(|| message["executable"].as_str().map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cargo_says_is_understood() {
        let built = json!({"reason": "compiler-artifact", "target": {"name": "races"}, "executable": "/t/races-1"});
        assert_eq!(executable(&built, "races"), Some("/t/races-1".into()));
        assert_eq!(executable(&built, "properties"), None);
        let warning = json!({"message": {"level": "warning", "rendered": "unused"}});
        let wrong = json!({"message": {"level": "error", "rendered": "no such name"}});
        assert_eq!(error(&warning), None);
        assert_eq!(error(&wrong).as_deref(), Some("no such name"));
    }
}
