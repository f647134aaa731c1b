// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask doctor`: what this machine lacks, without changing it.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cache::Cache;
use crate::setup::tool::{BINDGEN, CARGO_FUZZ, Tool};
use crate::setup::{self, apt, disk};

/// Say what is missing on this machine, without changing anything
#[derive(Args, Debug)]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    what: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Works without it, but less well.
    Limited,
    Missing,
}

impl Doctor {
    /// Runs the command; the exit code is 1 if something is missing.
    pub fn run(&self) -> Result<ExitCode> {
        let cache = Cache::locate()?;
        let findings = [
            packages()?,
            from_crates_io(&cache, BINDGEN),
            from_crates_io(&cache, CARGO_FUZZ),
            space(&cache)?,
            kvm(),
        ];
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        } else {
            for finding in &findings {
                let mark = match finding.state {
                    State::Ok => "ok     ",
                    State::Limited => "limited",
                    State::Missing => "MISSING",
                };
                println!("{mark}  {}: {}", finding.what, finding.detail);
                if let Some(remedy) = &finding.remedy {
                    println!("         {remedy}");
                }
            }
        }
        let complete = findings
            .iter()
            .all(|finding| finding.state != State::Missing);
        Ok(if complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn packages() -> Result<Finding> {
    let names: Vec<&str> = setup::PACKAGES.iter().map(|p| p.name).collect();
    let missing = apt::missing(&names)?;
    let what = "Debian packages".to_owned();
    Ok(if missing.is_empty() {
        Finding {
            what,
            state: State::Ok,
            detail: format!("all {} installed", names.len()),
            remedy: None,
        }
    } else {
        let remedy = format!(
            "as root every command installs them; or type: {}",
            apt::command_line(&missing)
        );
        Finding {
            what,
            state: State::Missing,
            detail: missing.join(" "),
            remedy: Some(remedy),
        }
    })
}

fn from_crates_io(cache: &Cache, tool: Tool) -> Finding {
    let what = format!("{} {}", tool.program, tool.version);
    match tool.installed(cache) {
        Some(dir) => Finding {
            what,
            state: State::Ok,
            detail: dir.display().to_string(),
            remedy: None,
        },
        None => Finding {
            what,
            state: State::Missing,
            detail: "not in the cache".to_owned(),
            remedy: Some("every command that needs it installs it from crates.io".to_owned()),
        },
    }
}

fn space(cache: &Cache) -> Result<Finding> {
    let free = disk::free_gib(cache.root())?;
    let needed = disk::SOURCE_GIB + disk::BUILD_GIB;
    let detail = format!(
        "{free:.1} GiB free for the cache at {}; a kernel of one series takes {needed:.1} GiB, packages on a bare \
         system {:.1} GiB",
        cache.root().display(),
        disk::PACKAGES_GIB
    );
    let enough = free >= needed || cache.root().join("images").exists();
    Ok(Finding {
        what: "disk space".to_owned(),
        state: if enough { State::Ok } else { State::Missing },
        detail,
        remedy: (!enough)
            .then(|| "free some, or set LUO_CACHE to a folder on another disk".to_owned()),
    })
}

fn kvm() -> Finding {
    let device = Path::new("/dev/kvm");
    let (state, detail) = match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => (
            State::Ok,
            format!(
                "{} can be opened; machines use it if a kernel really boots on it",
                device.display()
            ),
        ),
        Err(err) => (
            State::Limited,
            format!(
                "{}: {err}; machines are emulated, which is slower",
                device.display()
            ),
        ),
    };
    Finding {
        what: "KVM".to_owned(),
        state,
        detail,
        remedy: None,
    }
}
