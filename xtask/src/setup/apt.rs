// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Debian packages, by apt.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::run;
use crate::ui::Step;

/// Package lists older than this may name versions that the mirror no longer has.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Those of `names` that are not installed.
///
/// # Errors
/// There is no dpkg: this is not a Debian.
pub fn missing<'a>(names: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when it does not know one of the names, but still prints the others.
    let out = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Abbrev}\n"])
        .args(names)
        .stdin(Stdio::null())
        .output()
        .context("cannot run dpkg-query: the set-up works on Debian 12 only")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let installed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" ii"))
        .map(|(name, _)| name)
        .collect();
    Ok(names
        .iter()
        .copied()
        .filter(|name| !installed.contains(name))
        .collect())
}

/// The command a person types to install `names`.
#[must_use]
pub fn command_line(names: &[&str]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    )
}

/// Installs `names` as root.
///
/// # Errors
/// This is not root, or apt fails; the error says whether it was the network or the disk.
pub fn install(cache: &Cache, names: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "Debian packages are missing, and installing them takes root. Type:\n\n    {}\n",
            command_line(names)
        );
    }
    let _lock = cache.lock("apt")?;
    if lists_are_stale(Path::new("/var/lib/apt/lists")) {
        // A third-party source that fails must not keep us from Debian's own: apt-get install will tell.
        if let Err(err) = apt_get(cache, "Updating the package lists", &["update"]) {
            eprintln!("warning: {err:#}");
        }
    }
    let title = format!("Installing Debian packages ({})", names.len());
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(names);
    if let Err(err) = apt_get(cache, &title, &args) {
        // Lists may have gone stale in the meantime, a mirror may have hiccuped: once more, with fresh lists.
        eprintln!("warning: {err:#}\ntrying once more with fresh package lists");
        apt_get(cache, "Updating the package lists", &["update"])?;
        apt_get(cache, &title, &args)
            .context("the set-up works on Debian 12 with its main and security suites")?;
    }
    let still = missing(names)?;
    if !still.is_empty() {
        bail!(
            "apt-get reported success, but these packages are not installed: {}",
            still.join(" ")
        );
    }
    Ok(())
}

fn apt_get(cache: &Cache, title: &str, args: &[&str]) -> Result<()> {
    let mut command = run::outside_cargo("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run_apt(cache, &mut command, title)
}

/// Runs a prepared apt command with progress, and says in a person's words why it failed.
pub fn run_apt(cache: &Cache, command: &mut Command, title: &str) -> Result<()> {
    let log = cache.folder("logs")?.join("apt.log");
    let mut step = Step::start(title);
    run::logged(command, &log, &mut step).map_err(|err| match diagnose(&err.to_string()) {
        Some(why) => err.context(why),
        None => err,
    })?;
    step.done("");
    Ok(())
}

fn diagnose(log: &str) -> Option<&'static str> {
    let any = |signs: &[&str]| signs.iter().any(|sign| log.contains(sign));
    if any(&[
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Network is unreachable",
    ]) {
        Some("no network: apt cannot reach the Debian mirror")
    } else if any(&["No space left on device", "enough free space"]) {
        Some("not enough disk space for apt")
    } else if any(&["Could not get lock", "Unable to acquire"]) {
        Some("another package manager has been running for five minutes; wait for it to end")
    } else {
        None
    }
}

fn lists_are_stale(dir: &Path) -> bool {
    let newest = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with("Release"))
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    newest.is_none_or(|time| {
        SystemTime::now()
            .duration_since(time)
            .is_ok_and(|age| age > STALE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_a_release_file_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        assert!(lists_are_stale(dir.path()));
        fs::write(dir.path().join("mirror_dists_bookworm_InRelease"), "").unwrap();
        assert!(!lists_are_stale(dir.path()));
        assert!(lists_are_stale(&dir.path().join("absent")));
    }

    #[test]
    fn failures_are_told_apart() {
        assert!(
            diagnose("You don't have enough free space")
                .unwrap()
                .contains("disk")
        );
        assert!(
            diagnose("Temporary failure resolving 'mirror'")
                .unwrap()
                .contains("no network")
        );
        assert_eq!(diagnose("dpkg: error processing"), None);
    }
}
