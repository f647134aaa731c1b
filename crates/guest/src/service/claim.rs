// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Getting back what an earlier generation has left.

use anyhow::{Context as _, Result};
use liveupdate::{Incoming, Session};
use luod::{
    client::{Client, Error},
    protocol::{Code, Command, Event},
};

use super::{Service, persist};

pub(super) fn run(service: &Service, generation: u64) -> Result<()> {
    let (mut agent, session) = persist(&service.socket, |agent| claim(service, agent))?;
    println!("claimed");
    // A session that is here stays here, whatever becomes of luod.
    let files = service.files(generation);
    let memory = files.fetch(&session)?;
    println!("verified {} files of generation {generation}", memory.len());
    session.finish().context("FINISH")?;
    done(service, &mut agent)?;
    files.check(&memory)?;
    println!("done");
    Ok(())
}

fn claim(service: &Service, agent: &mut Client) -> Result<Session<Incoming>, Error> {
    let id = service.id.clone();
    match agent.ask(&Command::Claim { id })? {
        (Event::Claimed { .. }, Some(fd)) => Ok(fd.into()),
        (event, fd) => Err(Error::Garbled(format!("{event:?} with {fd:?}"))),
    }
}

/// A luod that has been killed since then may know nothing of the session any more, or wait for it still.
fn done(service: &Service, agent: &mut Client) -> Result<()> {
    let id = || service.id.clone();
    let lost = match agent.ask(&Command::Done { id: id() }) {
        Ok(_) => return Ok(()),
        Err(error @ (Error::Broken(_) | Error::Closed)) => error,
        Err(error) => return Err(error.into()),
    };
    println!("lost: {lost}");
    let again = persist(&service.socket, |agent| {
        match claim(service, agent) {
            Err(Error::Refused {
                code: Code::NotFound,
                ..
            }) => return Ok(()),
            claimed => claimed?,
        };
        agent.ask(&Command::Done { id: id() }).map(drop)
    });
    again.map(drop).context("after FINISH")
}
