// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What each command does. `run` in each module gathers and acts; `render` is what people see.

mod cancel;
mod check;
mod claim;
mod discard;
mod generate;
mod keep;
mod load;
mod metrics;
mod status;
mod timeline;
mod update;
mod watch;

use std::process::ExitCode;

use crate::{
    agent::Agent,
    cli::{Cli, Command},
    exit::{Exit, Result},
    screen::Screen,
};

/// Runs what was typed.
///
/// # Errors
/// [`Failure`](crate::exit::Failure) says why it was not done, and the exit status.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    let agent = Agent::at(&cli.socket);
    let screen = Screen::new(cli.json);
    let exit = match cli.command {
        Command::Status(args) => status::run(&args, &agent, &screen),
        Command::Check(args) => check::run(&args, &agent, &screen),
        Command::Load(args) => load::run(&args, &screen),
        Command::Unload(args) => load::unload(&args.dir, &screen),
        Command::Update(args) => update::run(&args, &agent, &screen),
        Command::Cancel => cancel::run(&agent, &screen),
        Command::Claim(args) => return claim::run(&args, &agent, &screen),
        Command::Discard(args) => discard::run(&args, &agent, &screen),
        Command::Keep(keep) => keep::run(keep, &agent, &screen),
        Command::Timeline(args) => timeline::run(&args, &agent, &screen),
        Command::Watch => watch::run(&agent, &screen),
        Command::Metrics(args) => metrics::run(&args, &agent, &screen),
        Command::Completions { shell } => Ok(generate::completions(shell)),
        Command::Man { dir } => generate::man(&dir),
        Command::Listen { command } => Err(claim::listen(&command)),
    };
    exit.map(|exit: Exit| exit.into())
}
