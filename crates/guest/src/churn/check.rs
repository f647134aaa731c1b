// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The check in the next kernel.

use anyhow::{Context as _, Result, ensure};
use liveupdate::{Device, Token};

use super::{
    JOURNAL, LATE, WORKERS, arrived,
    journal::{Arrived, Known},
    number, tolerate, verify,
};

/// `churn-check GENERATION`: prints what has arrived of that generation; fails if it is not consistent.
pub(crate) fn check(mut args: impl Iterator<Item = String>) -> Result<()> {
    let generation = number(args.next())?;
    let (mut sessions, mut files) = (0, 0);
    let mut moment = Moment::default();
    for worker in 0..WORKERS {
        let journal = journal(generation, worker)?;
        if let Some(journal) = &journal {
            moment.narrow(journal);
        }
        for name in 0..LATE {
            let known = journal
                .as_ref()
                .map_or(Known::ABSENT, |journal| journal.known(name));
            let held = session(generation, worker, name)?;
            ensure!(
                known.allows(held),
                "session {name} of worker {worker} has arrived as {held:?} files, its journal says {known:?}"
            );
            sessions += u32::from(held.is_some());
            files += held.unwrap_or_default();
        }
    }
    moment.check()?;
    ensure!(
        sessions > 0,
        "no session of generation {generation} has arrived"
    );
    println!("{sessions} sessions with {files} files are whole");
    Ok(())
}

/// The moment of the hand-over: after every change that was made, before the end of every one that was refused.
#[derive(Default)]
struct Moment {
    after_ns: u64,
    before_ns: Option<u64>,
}

impl Moment {
    fn narrow(&mut self, journal: &Arrived) {
        self.after_ns = self.after_ns.max(journal.changed_ns);
        self.before_ns = self.before_ns.into_iter().chain(journal.refused_ns).min();
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.before_ns.is_none_or(|before| self.after_ns <= before),
            "a change began at {} ns and was made, another had been refused by {:?} ns",
            self.after_ns,
            self.before_ns
        );
        Ok(())
    }
}

/// Finishes a worker's journal. A worker that came too late for it came too late for anything.
fn journal(generation: u32, worker: u32) -> Result<Option<Arrived>> {
    let Some(session) = arrived(&Device::open()?, generation, worker, JOURNAL)? else {
        return Ok(None);
    };
    let file = tolerate(session.retrieve(Token(0)), &[rustix::io::Errno::NOENT])?;
    session.finish()?;
    file.map(Arrived::read)
        .transpose()
        .with_context(|| format!("the journal of worker {worker}"))
}

/// Compares all files of a session and ends it; gives their number, if it has arrived.
fn session(generation: u32, worker: u32, name: u32) -> Result<Option<u64>> {
    let Some(session) = arrived(&Device::open()?, generation, worker, name)? else {
        return Ok(None);
    };
    let files = verify(&session, generation, worker, name)?;
    // The others are finished by their closing.
    if name.is_multiple_of(2) {
        session.finish()?;
    }
    Ok(Some(files))
}
