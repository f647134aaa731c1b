// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl keep`.

use luod::protocol::{Command, Event};

use super::status;
use crate::{
    agent::{Agent, unexpected},
    cli::Keep,
    exit::{Exit, Result},
    screen::Screen,
};

pub(crate) fn run(keep: Keep, agent: &Agent, screen: &Screen) -> Result<Exit> {
    let command = match keep {
        Keep::Add {
            name,
            size,
            owner,
            checksum,
        } => Command::KeepAdd {
            name,
            bytes: size,
            owner,
            checksum,
        },
        Keep::Remove { name } => Command::KeepRemove { name },
        Keep::List => {
            let kept = agent.status()?.kept;
            screen.show(&kept, |kept, look| match kept.as_slice() {
                [] => "No files are kept.".into(),
                kept => status::kept(kept, look).trim_start().to_owned(),
            })?;
            return Ok(Exit::Done);
        }
    };
    let (event, _) = agent.ask(&command)?;
    match &event {
        // The path alone, for `$(luoctl keep add …)`.
        Event::Kept { path, .. } => screen.show(&event, |_, _| path.clone())?,
        Event::Done { id } => screen.show(&event, |_, _| format!("{id} is kept no more."))?,
        other => return Err(unexpected(&command, other)),
    }
    Ok(Exit::Done)
}
