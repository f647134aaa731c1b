// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command line for live updates.
//!
//! A command gathers what it needs from the agent ([`agent`]) or from this machine ([`local`]), as types; what it shows is a pure
//! function of them, as text for people or as JSON for programs ([`screen`]); its [exit status](exit) tells what came of it.

mod agent;
mod cli;
mod commands;
mod exit;
mod local;
mod screen;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = cli.json;
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(json);
            failure.exit.into()
        }
    }
}
