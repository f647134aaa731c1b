// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Many clients of luod in one process: `crowd PREFIX COUNT [join=GENERATION] [claim=GENERATION] [luod=PID] [socket=PATH]`. With
//! luod's process it says how long that has been at work for the claims.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};
use liveupdate::{Incoming, Outgoing, Session};
use luod::{
    client::Client,
    protocol::{Command, Event, Id},
};

use crate::{
    service::{Files, Words, persist},
    system::processor_time,
};

struct Member {
    id: Id,
    agent: Client,
    session: Option<Session<Outgoing>>,
}

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let prefix = args.next().context("a crowd needs a prefix")?;
    let count: u32 = args.next().context("and a number")?.parse()?;
    let ids: Vec<_> = (0..count)
        .map(|number| Id::new(format!("{prefix}{number}")))
        .collect::<Result<_, _>>()?;
    let words = Words::parse(args)?;
    let socket = words.socket();
    if let Some(generation) = words.number("claim")? {
        claim(&socket, &ids, generation, words.number("luod")?)?;
    }
    if let Some(generation) = words.number("join")? {
        join(&socket, &ids, generation)?;
    }
    Ok(())
}

/// One small file each.
fn files(id: &Id, generation: u64) -> Files {
    Files {
        owner: id.to_string(),
        generation,
        count: 1,
        bytes: 0,
    }
}

fn join(socket: &Path, ids: &[Id], generation: u64) -> Result<()> {
    let join = |id: &Id| {
        let subscribe = Command::Subscribe { id: id.clone() };
        let (agent, _) = persist(socket, |agent| agent.ask(&subscribe))?;
        let session = None;
        Ok(Member {
            id: id.clone(),
            agent,
            session,
        })
    };
    let mut members = ids.iter().map(join).collect::<Result<Vec<_>>>()?;
    println!("subscribed {}", members.len());
    loop {
        for member in &mut members {
            let files = files(&member.id, generation);
            let (Event::StartPreservation { .. }, Some(fd)) = member.agent.next(None)? else {
                bail!("{} was told something else", member.id)
            };
            let session = Session::from(fd);
            files.preserve(&session, &files.make()?)?;
            let id = Some(member.id.clone());
            member.agent.send(&Command::Ready { id })?;
            member.session = Some(session);
        }
        println!("ready {}", members.len());
        for member in &mut members {
            let (Event::Cancelled { .. }, _) = member.agent.next(None)? else {
                bail!("{} was told something else", member.id)
            };
            member.session = None;
        }
        println!("cancelled {}", members.len());
    }
}

/// All claim first; then each fetches what is its own.
fn claim(socket: &Path, ids: &[Id], generation: u64, luod: Option<i32>) -> Result<()> {
    let work = || luod.map(processor_time).transpose();
    let (started, before) = (Instant::now(), work()?);
    let claim = |id: &Id| {
        let (agent, event) = persist(socket, |agent| {
            agent.ask(&Command::Claim { id: id.clone() })
        })?;
        match event {
            (Event::Claimed { .. }, Some(fd)) => Ok((agent, Session::<Incoming>::from(fd))),
            (event, _) => bail!("{id} got {event:?}"),
        }
    };
    let claimed = ids.iter().map(claim).collect::<Result<Vec<_>>>()?;
    let took = started.elapsed().as_micros();
    println!("claimed {} in {took} us", claimed.len());
    if let Some((before, after)) = before.zip(work()?) {
        println!("luod was at work for {} us", (after - before).as_micros());
    }
    for (id, (mut agent, session)) in ids.iter().zip(claimed) {
        files(id, generation).fetch(&session)?;
        session.finish()?;
        agent.ask(&Command::Done { id: id.clone() })?;
    }
    println!("done {}", ids.len());
    Ok(())
}
