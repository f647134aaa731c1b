// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A small "VMM" that keeps its guest's memory while the kernel is replaced. `docs/vmm-authors.md` explains it.
//!
//! Its guest is a thread that counts in guest memory. Its device state is how far the guest had come when it was stopped: written
//! into a second memfd, it is what the guest's memory is compared with afterwards.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use liveupdate::{Incoming, Memory, Outgoing, Session, Token};
use luod::{
    client::{Client, Error},
    protocol::{Code, Command, Event, Id, SOCKET_PATH},
};

/// Tokens are this program's own. The next version of it has to know them, too.
const GUEST_MEMORY: Token = Token(0);
const DEVICE_STATE: Token = Token(1);

const COUNTER_OFFSET: usize = 0x1000;
/// Whoever changes the device state's format changes this.
const STATE_VERSION: u64 = 1;
const STATE_BYTES: usize = 4096;
const PAUSE: Duration = Duration::from_millis(500);

/// Counts in memory that survives the kernel
#[derive(Debug, Parser)]
struct Arguments {
    /// Under which name its memory is kept
    #[arg(long, default_value = "keeps-memory")]
    id: Id,
    /// Where luod listens
    #[arg(long, default_value = SOCKET_PATH)]
    socket: PathBuf,
    /// How much memory the guest gets, if it starts afresh
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
}

fn main() -> Result<()> {
    let Arguments { id, socket, mib } = Arguments::parse();
    let mut agent = connect(&socket)?;
    let (memory, mut is_done) = loop {
        match come_back(&mut agent, &id) {
            Ok(Some(memory)) => break (memory, false),
            Ok(None) => break (Memory::create("guest", (mib as usize) << 20)?, true),
            Err(error) => agent = again(&socket, error)?,
        }
    };
    let mut guest = Guest::start(memory)?;
    println!("counting from {}", guest.started_at);
    loop {
        let served = say_done(&mut agent, &id, &mut is_done)
            .and_then(|()| take_part(&mut agent, &id, &mut guest));
        if let Err(error) = served {
            // Nobody tells whether an update was under way. If so, it is off: the kernel is still this one.
            guest.go_on("the agent is gone")?;
            agent = again(&socket, error)?;
        }
    }
}

/// What an earlier kernel, or an earlier run of this program, has left; nothing if there was none.
fn come_back(agent: &mut Client, id: &Id) -> Result<Option<Memory>> {
    let session = match agent.ask(&Command::Claim { id: id.clone() }) {
        Ok((Event::Claimed { .. }, Some(fd))) => Session::<Incoming>::from(fd),
        // The only answer to start afresh on. With any other the memory may still be there.
        Err(Error::Refused {
            code: Code::NotFound,
            ..
        }) => return Ok(None),
        Ok((other, _)) => bail!("unexpected answer to CLAIM: {other:?}"),
        Err(error) => return Err(error.into()),
    };
    let memory = Memory::from_file(session.retrieve(GUEST_MEMORY)?)?;
    let state = Memory::from_file(session.retrieve(DEVICE_STATE)?)?;
    let stopped_at = read_state(&state)?;
    let counter = read(&memory, COUNTER_OFFSET)?;
    ensure!(
        counter == stopped_at,
        "the guest was stopped at {stopped_at}, and its memory says {counter}"
    );
    // Until here the session can be claimed again, if this program dies. Afterwards there is nothing to go back to.
    session.finish()?;
    println!("claimed at {counter}");
    Ok(Some(memory))
}

/// Lets the agent forget the session, whose name the next update needs.
fn say_done(agent: &mut Client, id: &Id, is_done: &mut bool) -> Result<()> {
    if *is_done {
        return Ok(());
    }
    let done = || Command::Done { id: id.clone() };
    let answer = match agent.ask(&done()) {
        // It has been started again since, and gave the session to nobody.
        Err(Error::Refused {
            code: Code::WrongState,
            ..
        }) => agent
            .ask(&Command::Claim { id: id.clone() })
            .and_then(|_| agent.ask(&done())),
        answer => answer,
    };
    match answer {
        // It may have seen for itself that the session is finished.
        Ok(_)
        | Err(Error::Refused {
            code: Code::NotFound,
            ..
        }) => {}
        // No reason to stop a guest that has everything; an operator can say `luoctl discard`.
        Err(Error::Refused { message, .. }) => eprintln!("cannot say DONE: {message}"),
        Err(error) => return Err(error.into()),
    }
    *is_done = true;
    Ok(())
}

/// Serves updates until the connection breaks.
fn take_part(agent: &mut Client, id: &Id, guest: &mut Guest) -> Result<()> {
    agent.ask(&Command::Subscribe { id: id.clone() })?;
    // The session while an update is under way. It ends with the connection, or with `CANCELLED`.
    let mut preserved = None;
    loop {
        match agent.next(None)? {
            (Event::StartPreservation { .. }, Some(fd)) => {
                let session = Session::from(fd);
                match guest.preserve(&session) {
                    Ok(at) => {
                        println!("preserved at {at}");
                        let id = Some(id.clone());
                        agent.send(&Command::Ready { id })?;
                    }
                    // Better no update than one without this guest.
                    Err(error) => agent.send(&Command::Veto {
                        id: Some(id.clone()),
                        reason: error.to_string(),
                    })?,
                }
                preserved = Some(session);
            }
            (Event::Cancelled { reason, .. }, _) => {
                // Before the guest goes on: while it is preserved, its memory cannot be punched, nor preserved again.
                drop(preserved.take());
                guest.go_on(&reason)?;
            }
            // Agents of later versions may say more.
            _ => {}
        }
    }
}

fn connect(socket: &Path) -> Result<Client, Error> {
    loop {
        match Client::connect(socket) {
            // It is started again.
            Err(Error::Connect { .. } | Error::Broken(_) | Error::Closed) => thread::sleep(PAUSE),
            other => return other,
        }
    }
}

/// A new connection, if the old one is of no more use; other errors are nothing that a repeat helps against.
fn again(socket: &Path, error: anyhow::Error) -> Result<Client> {
    match error.downcast_ref() {
        Some(Error::Broken(_) | Error::Closed | Error::Silent(_)) => {}
        // Whatever an agent says is no reason to lose a guest.
        Some(Error::Garbled(_)) => thread::sleep(PAUSE),
        // An update of others is under way, or the agent has not yet seen the end of the old connection.
        Some(Error::Refused {
            code: Code::WrongState | Code::Exists | Code::Limit,
            ..
        }) => thread::sleep(PAUSE),
        _ => return Err(error),
    }
    eprintln!("{error}; connecting again");
    Ok(connect(socket)?)
}

/// A guest with one vCPU, which counts.
struct Guest {
    memory: Arc<Memory>,
    started_at: u64,
    vcpu: Option<Vcpu>,
}

struct Vcpu {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Guest {
    fn start(memory: Memory) -> Result<Self> {
        let started_at = read(&memory, COUNTER_OFFSET)?;
        let memory = Arc::new(memory);
        let vcpu = Some(Vcpu::start(&memory));
        Ok(Self {
            memory,
            started_at,
            vcpu,
        })
    }

    /// Stops the guest, and puts all that it is into `session`. Gives how far it has come.
    fn preserve(&mut self, session: &Session<Outgoing>) -> Result<u64> {
        let at = match self.vcpu.take() {
            Some(vcpu) => vcpu.stop()?,
            None => read(&self.memory, COUNTER_OFFSET)?,
        };
        let state = Memory::create("device-state", STATE_BYTES)?;
        write(&state, 0, STATE_VERSION)?;
        write(&state, 8, at)?;
        session.preserve(GUEST_MEMORY, &*self.memory)?;
        // From here on the kernel holds it; `state` may be closed.
        session.preserve(DEVICE_STATE, &state)?;
        Ok(at)
    }

    /// Goes on where it was stopped, if it was.
    fn go_on(&mut self, reason: &str) -> Result<()> {
        if self.vcpu.is_none() {
            let at = read(&self.memory, COUNTER_OFFSET)?;
            println!("cancelled: {reason}, goes on at {at}");
            self.vcpu = Some(Vcpu::start(&self.memory));
        }
        Ok(())
    }
}

impl Vcpu {
    fn start(memory: &Arc<Memory>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (memory, stopped) = (Arc::clone(memory), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut counter = read(&memory, COUNTER_OFFSET)?;
            while !stopped.load(Relaxed) {
                counter += 1;
                write(&memory, COUNTER_OFFSET, counter)?;
                thread::sleep(Duration::from_millis(1));
            }
            Ok(counter)
        });
        Self { stop, thread }
    }

    /// When this returns, the guest changes nothing any more.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the guest does not panic")
    }
}

/// How far the guest had come.
fn read_state(state: &Memory) -> Result<u64> {
    let version = read(state, 0)?;
    ensure!(
        version == STATE_VERSION,
        "device state of version {version}, this program knows {STATE_VERSION}"
    );
    read(state, 8)
}

fn read(memory: &Memory, offset: usize) -> Result<u64> {
    let mut bytes = [0; 8];
    memory.read_at(offset, &mut bytes).context("too small")?;
    Ok(u64::from_le_bytes(bytes))
}

fn write(memory: &Memory, offset: usize, value: u64) -> Result<()> {
    Ok(memory.write_at(offset, &value.to_le_bytes())?)
}
