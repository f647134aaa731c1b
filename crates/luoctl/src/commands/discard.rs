// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl discard`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use luod::protocol::{Command, Id};

use crate::{
    agent::Agent,
    cli::DiscardArgs,
    exit::{Exit, Failure, Result},
    screen::Screen,
};

pub(crate) fn run(args: &DiscardArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    let id = &args.id;
    if !args.yes && !io::stdin().is_terminal() {
        let message = format!("whatever {id} has preserved would be lost: say --yes to do it");
        return Err(Failure::new(Exit::Usage, message));
    }
    if !args.yes && !is_confirmed(id)? {
        return Err(Failure::failed(format!("{id} stays as it is")));
    }
    let (event, _) = agent.ask(&Command::Discard { id: id.clone() })?;
    screen.show(&event, |_, _| {
        format!("{id} is given up, and its memory is free.")
    })?;
    Ok(Exit::Done)
}

fn is_confirmed(id: &Id) -> Result<bool> {
    let failed = |err: io::Error| Failure::failed(format!("cannot ask: {err}"));
    eprint!("Whatever {id} has preserved will be lost. Discard it? [y/N] ");
    io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        assert!(is_yes("y\n") && is_yes("Yes\n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("no\n") && !is_yes("yesterday\n"));
    }
}
