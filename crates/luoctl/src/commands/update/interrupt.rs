// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Ctrl-C during an update calls it off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

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

/// Whether there is still something to call off.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Everybody is ready. A service manager that shuts the machine down now ends this program by the same signals.
    pub(super) fn begins(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// From here on the first signal calls the update off, on a connection of its own; the end is then told as any other. The second one
/// ends this program, as does the first when it is too late.
pub(super) fn cancels_by(agent: &Agent, leaving: &Leaving) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|err| Failure::failed(format!("cannot catch signals: {err}")))?;
    let (agent, leaving) = (agent.clone(), leaving.clone());
    std::thread::spawn(move || {
        let mut again = false;
        for _ in signals.forever() {
            if leaving.has_begun() {
                std::process::exit(Exit::Done as i32);
            }
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
