// SPDX-License-Identifier: GPL-2.0-only

//! Any bytes on the socket of luod, from an operator and from a client who may do little, in pieces of any size.
//!
//! The agent must answer each line of each of them, to him alone where the line is wrong, and must never replace the kernel
//! while somebody is not ready: the kernel here panics then.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use liveupdate::{Incoming, Outgoing, Session, SessionInfo, SessionName, Token};
use luod::{
    agent::{Agent, Peer, Settings, Who},
    kernel::Kernel,
    policy::Policy,
    protocol::{self, Event},
    vault::{Key, Vault},
    wire::Lines,
};
use rustix::io::Errno;

/// What the two are; the byte before a piece says whose it is.
const PEERS: [(Peer, Who); 2] = [
    (Peer(0), Who { pid: 10, uid: 0 }),
    (Peer(1), Who { pid: 11, uid: 1000 }),
];

/// A kernel that carries nothing over, and is never left.
#[derive(Debug)]
struct Still;

/// A vault that keeps nothing.
#[derive(Debug)]
struct Sieve;

fn memfd() -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create("session", rustix::fs::MemfdFlags::CLOEXEC)
}

fn error(operation: liveupdate::Operation, errno: Errno) -> liveupdate::Error {
    let object = "a session".to_owned();
    liveupdate::Error {
        operation,
        object,
        errno,
    }
}

impl Kernel for Still {
    fn create(&mut self, _: &SessionName) -> liveupdate::Result<Session<Outgoing>> {
        let fd = memfd().map_err(|errno| error(liveupdate::Operation::Create, errno))?;
        Ok(fd.into())
    }

    fn preserve(
        &self,
        _: &Session<Outgoing>,
        _: Token,
        _: BorrowedFd<'_>,
    ) -> liveupdate::Result<()> {
        Ok(())
    }

    fn retrieve(&self, _: &Session<Incoming>, _: Token) -> liveupdate::Result<OwnedFd> {
        Err(error(liveupdate::Operation::RetrieveFile, Errno::NOENT))
    }

    fn finish(&self, _: &Session<Incoming>) -> liveupdate::Result<()> {
        Ok(())
    }

    fn info(&self, _: BorrowedFd<'_>) -> Option<SessionInfo> {
        None
    }

    fn unsupported(&self) -> Option<String> {
        None
    }

    fn is_loaded(&self) -> bool {
        true
    }

    fn incoming(&self) -> Option<protocol::Incoming> {
        None
    }

    fn leave(&mut self) -> Result<(), String> {
        Err("this kernel stays".to_owned())
    }
}

impl Vault for Sieve {
    fn put(&mut self, _: &Key, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: &Key) -> io::Result<()> {
        Ok(())
    }

    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>> {
        Ok(Vec::new())
    }

    fn retrieve(&mut self, _: &Key, _: &SessionName) -> liveupdate::Result<OwnedFd> {
        Err(error(liveupdate::Operation::RetrieveSession, Errno::NOENT))
    }
}

/// Runs the target: pieces of a byte for whose it is, one for its length, and so many bytes.
pub fn run(mut data: &[u8]) {
    // A folder that cannot be made: what is written down there is not the matter here, and kept files are refused.
    let settings = Settings {
        state: "/proc/nonexistent".into(),
        timeout: Duration::from_secs(3600),
        boot_id: String::new(),
        release: String::new(),
    };
    let policy = Policy::default();
    let mut agent = Agent::start(Still, Box::new(Sieve), policy, settings).unwrap();
    let mut lines = [Lines::default(), Lines::default()];
    let mut alive = [true; 2];
    for (peer, who) in PEERS {
        agent.connected(peer, who);
    }
    while let [whose, length, rest @ ..] = data {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let index = usize::from(*whose) % PEERS.len();
        lines[index].push(piece, Vec::new());
        while let (true, Ok(Some(line))) = (alive[index], lines[index].pop()) {
            alive[index] = agent.line(PEERS[index].0, &line.text);
            let is_refused = settle(&mut agent, PEERS[index].0);
            assert!(
                alive[index] || is_refused,
                "a connection ends without a word"
            );
        }
        if !alive[index] {
            agent.disconnected(PEERS[index].0);
            settle(&mut agent, PEERS[index].0);
        }
    }
}

/// Lets the agent do what it wants; gives whether it has refused `peer` something. Nobody else may be told of a refusal.
fn settle(agent: &mut Agent<Still>, peer: Peer) -> bool {
    let mut is_refused = false;
    loop {
        let outputs = agent.outputs();
        for output in &outputs {
            let text = serde_json::to_string(&output.event).unwrap();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), output.event);
            if let Event::Error { .. } = output.event {
                assert_eq!(output.to, peer, "{text}");
                is_refused = true;
            }
            if let Event::StartPreservation { .. } = output.event {
                assert!(
                    output
                        .fd
                        .as_ref()
                        .is_some_and(|it| it.as_fd().try_clone_to_owned().is_ok())
                );
            }
        }
        if agent.wants_to_leave() {
            if agent.prepare_to_leave() {
                agent.leave();
            }
        } else if outputs.is_empty() {
            return is_refused;
        }
    }
}
