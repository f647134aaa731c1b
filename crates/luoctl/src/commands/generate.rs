// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Completions and manual pages, for whoever installs this.

use std::path::Path;

use clap::CommandFactory as _;

use crate::{
    cli::Cli,
    exit::{Exit, Failure, Result},
};

const NAME: &str = "luoctl";

pub(crate) fn completions(shell: clap_complete::Shell) -> Exit {
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut std::io::stdout());
    Exit::Done
}

pub(crate) fn man(dir: &Path) -> Result<Exit> {
    let failed = |err| {
        Failure::failed(format!(
            "cannot write manual pages into {}: {err}",
            dir.display()
        ))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    Ok(Exit::Done)
}
