// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl claim`: a session for a program that cannot claim it itself, or its files for whoever can use them.

mod rescue;

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{self, ExitCode, ExitStatus},
};

use command_fds::{CommandFdExt as _, FdMapping};
use liveupdate::{Incoming, Session};
use luod::{
    client::Client,
    protocol::{Command, Event, Id},
};

use crate::{
    agent::{Agent, unexpected},
    cli::ClaimArgs,
    exit::{Exit, Failure, Result},
    screen::Screen,
};

/// Where passed descriptors begin: `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

pub(crate) fn run(args: &ClaimArgs, agent: &Agent, screen: &Screen) -> Result<ExitCode> {
    let mut client = agent.connect()?;
    let session = claim(&mut client, &args.id)?;
    let code = match &args.save {
        Some(dir) => {
            let saved = rescue::save(&session, &args.tokens, dir)?;
            screen.show(&saved, rescue::render)?;
            Exit::Done.into()
        }
        // The connection stays open meanwhile: the agent knows who has the session.
        None => {
            let fd = OwnedFd::from(session);
            let status = start(&fd, &args.command)?;
            if !status.success() {
                return Ok(code_of(status));
            }
            return finish(args, &mut client, fd.into()).map(|()| Exit::Done.into());
        }
    };
    finish(args, &mut client, session)?;
    Ok(code)
}

fn claim(client: &mut Client, id: &Id) -> Result<Session<Incoming>> {
    let command = Command::Claim { id: id.clone() };
    match client.ask(&command)? {
        (Event::Claimed { .. }, Some(fd)) => Ok(fd.into()),
        (Event::Claimed { .. }, None) => Err(Failure::failed(format!(
            "the agent gives {id} away, but the descriptor has not arrived: is the limit of open files reached?"
        ))),
        (other, _) => Err(unexpected(&command, &other)),
    }
}

/// Never without being told to: the session could not be claimed again.
fn finish(args: &ClaimArgs, client: &mut Client, session: Session<Incoming>) -> Result<()> {
    if !args.done {
        return Ok(());
    }
    session.finish()?;
    drop(session);
    let id = args.id.clone();
    client.ask(&Command::Done { id })?;
    Ok(())
}

fn start(session: &OwnedFd, command: &[OsString]) -> Result<ExitStatus> {
    let failed =
        |err: std::io::Error| Failure::failed(format!("cannot start {}: {err}", shown(command)));
    // Ctrl-C is the program's; this one waits for it.
    let caught = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, caught).map_err(failed)?;
    let parent_fd = session.try_clone().map_err(failed)?;
    let mapping = FdMapping {
        parent_fd,
        child_fd: FIRST_FD,
    };
    // This program again, since LISTEN_PID has to be the number of a process that is not there yet.
    let this = std::env::current_exe().map_err(failed)?;
    let mut child = process::Command::new(this);
    child.args(["listen", "--"]).args(command);
    child
        .fd_mappings(vec![mapping])
        .map_err(|err| Failure::failed(err.to_string()))?;
    child.status().map_err(failed)
}

/// The hidden command `listen`: becomes the program. Comes back only if it cannot.
pub(crate) fn listen(command: &[OsString]) -> Failure {
    let err = process::Command::new(&command[0])
        .args(&command[1..])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "session")
        .env("LISTEN_PID", process::id().to_string())
        .exec();
    Failure::failed(format!("cannot start {}: {err}", shown(command)))
}

fn shown(command: &[OsString]) -> String {
    command
        .first()
        .map(|it| it.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// As a shell tells it: 128 and the signal for what was killed.
fn code_of(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal().map(|it| 128 + it);
    let code = status.code().or(signal).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
