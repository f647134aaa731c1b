// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl cancel`.

use luod::protocol::Command;

use crate::{
    agent::Agent,
    exit::{Exit, Result},
    screen::Screen,
};

pub(crate) fn run(agent: &Agent, screen: &Screen) -> Result<Exit> {
    let (event, _) = agent.ask(&Command::Cancel)?;
    screen.show(&event, |_, look| {
        look.good("Called off. Everybody goes on as before.")
    })?;
    Ok(Exit::Done)
}
