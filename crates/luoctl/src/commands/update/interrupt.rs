// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Ctrl-C during an update calls it off.

use luod::{
    client,
    protocol::{Code, Command},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    agent::Agent,
    exit::{Exit, Failure, Result},
};

/// From here on the first signal calls the update off, on a connection of its own; the end is then told as any other. The second one
/// ends this program.
pub(super) fn cancels_by(agent: &Agent) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|err| Failure::failed(format!("cannot catch signals: {err}")))?;
    let agent = agent.clone();
    std::thread::spawn(move || {
        let mut again = false;
        for _ in signals.forever() {
            if again {
                anstream::eprintln!("luoctl: not waiting for the end; see `luoctl status`");
                std::process::exit(Exit::Failed as i32);
            }
            again = true;
            anstream::eprintln!("luoctl: calling the update off");
            if let Err(why) = cancel(&agent) {
                anstream::eprintln!("luoctl: {why}");
            }
        }
    });
    Ok(())
}

fn cancel(agent: &Agent) -> std::result::Result<(), String> {
    let mut client = agent.connect().map_err(|failure| failure.message)?;
    match client.ask(&Command::Cancel) {
        Ok(_) => Ok(()),
        Err(client::Error::Refused {
            code: Code::WrongState,
            ..
        }) => Err("it is too late: the update has ended, or the kernel is being replaced".into()),
        Err(err) => Err(err.to_string()),
    }
}
