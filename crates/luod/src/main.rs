// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luod`, the agent for live updates.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use luod::{
    agent::{Agent, Settings},
    kernel::{self, Linux},
    kill_point,
    policy::Policy,
    protocol::SOCKET_PATH,
    server::Server,
    stderr, vault,
};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The agent for live updates
///
/// Holds the sessions of its clients, and replaces the kernel when all of them are ready. Operators use luoctl. Its log is its
/// standard error.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Internal>,
    /// Where to listen
    #[arg(long, value_name = "PATH", default_value = SOCKET_PATH)]
    socket: PathBuf,
    /// Where to write down what an agent that starts again has to know, and show kept files; need not outlive the kernel
    #[arg(long, value_name = "DIR", default_value = "/run/luod")]
    state: PathBuf,
    /// Who may do what; without such a file everything is root's
    #[arg(long, value_name = "FILE", default_value = "/etc/luod/policy.toml")]
    policy: PathBuf,
    /// How long clients have to get ready, if the operator does not say, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    timeout_ms: u64,
    /// Replace the kernel by this command, such as "systemctl kexec", in place of reboot(2), which ends everything at once
    #[arg(long, value_name = "COMMAND")]
    reboot_command: Option<String>,
    /// Print the steps at which tests can kill the agent, one a line
    #[arg(long, hide = true)]
    list_kill_points: bool,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// Hold descriptors for an agent, which starts this by itself
    #[command(hide = true)]
    Hold,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    stderr::start();
    raise_limit();
    let done = match arguments.command {
        Some(Internal::Hold) => vault::holder::serve().context("cannot hold descriptors"),
        None if arguments.list_kill_points => {
            kill_point::ALL.iter().for_each(|it| println!("{it}"));
            Ok(())
        }
        None => serve(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log::error!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<()> {
    let state = &arguments.state;
    folder(state)?;
    let policy = Policy::load(&arguments.policy)?;
    let boot_id = kernel::boot_id().context("cannot tell this boot from others")?;
    let vault = vault::open(state, &boot_id).context("cannot keep descriptors anywhere")?;
    let settings = Settings {
        state: state.clone(),
        timeout: Duration::from_millis(arguments.timeout_ms),
        boot_id,
        release: kernel::release(),
    };
    let words = arguments.reboot_command.as_deref().map(words);
    let kernel = Linux {
        reboot_command: words,
    };
    let mut agent = Agent::start(kernel, vault, policy, settings)
        .context("cannot take over what an earlier agent has left")?;
    let server = Server::listen(&arguments.socket)
        .with_context(|| format!("cannot listen at {}", arguments.socket.display()))?;
    log::info!("listening at {}", arguments.socket.display());
    // Nobody may be waiting for it.
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
    kill_point::reach("listening");
    server.run(&mut agent).context("cannot serve")
}

/// A descriptor for each client and one for each session may be more than a shell allows. What it is, it is.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).ok();
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// Others have to find their kept files in it.
fn folder(state: &Path) -> Result<()> {
    fs::create_dir_all(state.join("keep"))
        .with_context(|| format!("cannot make {}", state.display()))?;
    for folder in [state, &state.join("keep")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open {} to others", folder.display()))?;
    }
    Ok(())
}
