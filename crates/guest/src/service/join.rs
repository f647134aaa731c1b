// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Taking part in updates.

use std::{convert::Infallible, fs::File, process, str::FromStr, time::Duration};

use anyhow::{Result, bail};
use liveupdate::{Outgoing, Session};
use luod::{
    client::{Client, Error},
    protocol::{Code, Command, Event},
};
use rustix::process::Signal;

use super::{Files, Service, persist};

/// What it does when an update begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Preserves everything, and says so.
    Ready,
    /// As `Ready`, but a byte of what it preserves is wrong.
    Spoiled,
    /// As `Ready`, and dies a moment later.
    Leave,
    /// Does not want to be updated.
    Veto,
    /// Preserves a file, and dies.
    Die,
    /// Preserves everything, and does not say so.
    Silent,
}

impl FromStr for Answer {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "ready" => Self::Ready,
            "spoiled" => Self::Spoiled,
            "leave" => Self::Leave,
            "veto" => Self::Veto,
            "die" => Self::Die,
            "silent" => Self::Silent,
            _ => bail!("no such answer: {text}"),
        })
    }
}

pub(super) fn run(service: &Service, generation: u64, answer: Answer) -> Result<()> {
    let files = service.files(generation);
    let memory = files.make()?;
    if answer == Answer::Spoiled {
        files.spoil(&memory)?;
    }
    let subscribe = Command::Subscribe {
        id: service.id.clone(),
    };
    loop {
        let (mut agent, _) = persist(&service.socket, |agent| agent.ask(&subscribe))?;
        println!("subscribed");
        let mut participant = Participant {
            service,
            files: &files,
            memory: &memory,
            answer,
            session: None,
        };
        let Err(error) = participant.serve(&mut agent);
        if !is_lost(&error) {
            return Err(error);
        }
        println!("lost: {error:#}");
        // The session is closed with the connection: everything is as it was.
        drop(participant);
        files.check(&memory)?;
    }
}

fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Broken(_) | Error::Closed))
}

struct Participant<'a> {
    service: &'a Service,
    files: &'a Files,
    memory: &'a [File],
    answer: Answer,
    session: Option<Session<Outgoing>>,
}

impl Participant<'_> {
    fn serve(&mut self, agent: &mut Client) -> Result<Infallible> {
        loop {
            let event = match agent.next(None) {
                // READY and CANCELLED have crossed each other; the latter says everything.
                Err(Error::Refused {
                    code: Code::WrongState,
                    ..
                }) => continue,
                event => event?,
            };
            match event {
                (Event::StartPreservation { id, .. }, Some(fd)) if id == self.service.id => {
                    println!("asked");
                    self.session = Some(fd.into());
                    self.answer(agent)?;
                }
                (Event::Cancelled { reason, .. }, _) => {
                    self.session = None;
                    self.files.check(self.memory)?;
                    println!("cancelled: {reason}");
                }
                (event, fd) => println!("heard: {event:?}, {fd:?}"),
            }
        }
    }

    fn answer(&mut self, agent: &mut Client) -> Result<()> {
        let id = Some(self.service.id.clone());
        let session = self.session.as_ref().expect("it has just come");
        match self.answer {
            Answer::Veto => {
                let reason = "a request of a guest is under way".to_owned();
                agent.send(&Command::Veto { id, reason })?;
                println!("vetoed");
            }
            Answer::Die => {
                self.files.preserve(session, &self.memory[..1])?;
                die();
            }
            Answer::Silent => {
                self.files.preserve(session, self.memory)?;
                println!("silent");
            }
            Answer::Ready | Answer::Spoiled | Answer::Leave => {
                self.files.preserve(session, self.memory)?;
                println!("ready");
                agent.send(&Command::Ready { id })?;
                if self.answer == Answer::Leave {
                    std::thread::sleep(Duration::from_millis(300));
                    die();
                }
            }
        }
        Ok(())
    }
}

/// As if somebody had killed it.
fn die() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).ok();
    process::abort()
}
