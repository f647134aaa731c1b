// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Processes that do one operation after the other, with descriptors of their own, until they are killed.

use std::{
    collections::hash_map::Entry,
    io::{BufRead as _, BufReader, Write as _, stdin, stdout},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Result;
use luo_guest::proto::{Failure, Op, Outcome, Reply};

use crate::{
    agent,
    slots::{Slots, Tried as _, other},
};

/// Such a process, seen from the agent: an operation goes there, an outcome comes back, a line each.
#[derive(Debug)]
pub(crate) struct Actor {
    process: Child,
    ops: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

impl Actor {
    fn start() -> Result<Self, Failure> {
        let mut process = Command::new("/proc/self/exe")
            .arg("actor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .tried("start an actor")?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (ops, outcomes) = pipes.ok_or_else(|| other("the actor has no pipes"))?;
        Ok(Self {
            process,
            ops,
            outcomes: BufReader::new(outcomes),
        })
    }

    fn run(&mut self, op: &Op) -> Outcome {
        let mut line = serde_json::to_string(op).map_err(|error| other(error.to_string()))?;
        line.push('\n');
        self.ops
            .write_all(line.as_bytes())
            .tried("write to the actor")?;
        line.clear();
        self.outcomes
            .read_line(&mut line)
            .tried("read from the actor")?;
        serde_json::from_str(&line)
            .map_err(|error| other(format!("the actor said {line:?}: {error}")))?
    }
}

/// Does an operation in that process, which is started for its first one.
pub(crate) fn run(slots: &mut Slots, process: u8, op: &Op) -> Outcome {
    let actor = match slots.actors.entry(process) {
        Entry::Occupied(there) => there.into_mut(),
        Entry::Vacant(free) => free.insert(Actor::start()?),
    };
    actor.run(op)
}

/// Kills that process and waits until its descriptors are closed.
pub(crate) fn crash(slots: &mut Slots, process: u8) -> Outcome {
    if let Some(mut actor) = slots.actors.remove(&process) {
        actor.process.kill().tried("kill the actor")?;
        actor.process.wait().tried("wait for the actor")?;
    }
    Ok(Reply::Done)
}

/// The process itself.
pub(crate) fn serve() -> Result<()> {
    let mut slots = Slots::default();
    for line in stdin().lines() {
        let outcome = agent::run(&mut slots, serde_json::from_str(&line?)?);
        let mut line = serde_json::to_string(&outcome)?;
        line.push('\n');
        stdout().write_all(line.as_bytes())?;
        stdout().flush()?;
    }
    Ok(())
}
