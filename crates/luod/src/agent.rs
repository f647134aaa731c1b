// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent without its sockets: commands and deaths go in, events come out.
//!
//! ```text
//!            UPDATE, check is good              all READY
//!   idle ──────────────────────────▶ preserving ──────────▶ leaving ──▶ the next kernel
//!    ▲                                   │                     │
//!    └───────────────────────────────────┴─────────────────────┘
//!      VETO, CANCEL, a death, the deadline, a dry run; the kernel refuses
//! ```
//!
//! What must outlive the agent is written down before anybody is told: descriptors in the [vault](crate::vault), everything
//! else in the [ledger](crate::manifest::Ledger).

mod check;
mod claims;
mod keeping;
mod leaving;
mod log_limit;
mod peers;
mod report;
mod restore;
#[cfg(test)]
mod tests;
mod timeline;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use liveupdate::{Incoming, Session};

pub use peers::{Peer, Who};

use crate::{
    clock::Moment,
    keep::Keeper,
    kernel::Kernel,
    kill_point,
    manifest::{self, Ledger},
    policy::Policy,
    protocol::{Code, Command, Event, Id, VERSION},
    vault::Vault,
};
use log_limit::LogLimit;
use peers::Connected;
use update::Update;

/// What the agent calls itself.
pub const NAME: &str = concat!("luod ", env!("CARGO_PKG_VERSION"));

/// How the agent is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its folder, which need not outlive the kernel.
    pub state: PathBuf,
    /// How long clients have if the operator does not say.
    pub timeout: Duration,
    /// Differs from boot to boot.
    pub boot_id: String,
    /// As `uname -r` gives it.
    pub release: String,
}

/// Something to be sent.
#[derive(Debug)]
pub struct Output {
    /// To whom.
    pub to: Peer,
    /// What.
    pub event: Event,
    /// What goes with it.
    pub fd: Option<OwnedFd>,
    /// A step that is reached when it is sent.
    pub then: Option<&'static str>,
}

/// A command that is not carried out.
#[derive(Debug)]
struct Refusal {
    code: Code,
    message: String,
}

type Answer = Result<Option<(Event, Option<OwnedFd>)>, Refusal>;

/// The agent.
#[derive(Debug)]
pub struct Agent<K> {
    kernel: K,
    vault: Box<dyn Vault>,
    policy: Policy,
    settings: Settings,
    keeper: Keeper,
    ledger: Ledger,
    /// Sessions of the previous kernel that have been retrieved.
    held: BTreeMap<Id, Session<Incoming>>,
    /// Those of them that a service manager has retrieved, and no client has asked for. The others are their clients', too.
    early: BTreeSet<Id>,
    peers: BTreeMap<Peer, Connected>,
    update: Option<Update>,
    started: Moment,
    outputs: Vec<Output>,
    log_limit: LogLimit,
}

impl<K: Kernel> Agent<K> {
    /// Takes over what an earlier agent, in this kernel or the previous one, has left.
    ///
    /// # Errors
    /// The vault cannot be reached. Everything else is said, and does not keep the agent from starting.
    pub fn start(
        kernel: K,
        vault: Box<dyn Vault>,
        policy: Policy,
        settings: Settings,
    ) -> io::Result<Self> {
        let mut agent = Self {
            keeper: Keeper::new(&settings.state),
            ledger: Ledger::default(),
            held: BTreeMap::new(),
            early: BTreeSet::new(),
            peers: BTreeMap::new(),
            update: None,
            started: Moment::now(),
            outputs: Vec::new(),
            log_limit: LogLimit::default(),
            kernel,
            vault,
            policy,
            settings,
        };
        agent.restore()?;
        Ok(agent)
    }

    /// Somebody has connected.
    pub fn connected(&mut self, peer: Peer, who: Who) {
        self.peers.insert(peer, Connected::new(who));
    }

    /// Somebody has gone. An update that he takes part in is called off.
    pub fn disconnected(&mut self, peer: Peer) {
        let Some(gone) = self.peers.remove(&peer) else {
            return;
        };
        self.sweep(|id| gone.claimed.contains(id));
        if let Some(id) = self.update.as_ref().and_then(|it| it.member_of(peer)) {
            let reason = format!("{id} (process {}) has gone", gone.who.pid);
            self.call_off(&reason);
        }
    }

    /// A line has come. Gives whether the connection may go on.
    pub fn line(&mut self, peer: Peer, text: &[u8]) -> bool {
        let Some(who) = self.peers.get(&peer).map(|it| it.who) else {
            return false;
        };
        let command = match parse(text) {
            Ok(command) => command,
            Err(refusal) => {
                let goes_on = refusal.code != Code::BadLine;
                self.refuse(peer, None, refusal);
                return goes_on;
            }
        };
        let name = command.name();
        match self.execute(peer, who, command) {
            Ok(Some((event, fd))) => self.answer(peer, event, fd),
            Ok(None) => {}
            Err(refusal) => self.refuse(peer, Some(name), refusal),
        }
        true
    }

    /// Says in the log what a user's client does wrong, unless there is enough of that user in it.
    pub fn say_of(&mut self, uid: u32, text: impl std::fmt::Display) {
        self.log_limit.say(uid, text);
    }

    /// The peer has sent a line that is too long.
    pub fn too_long(&mut self, peer: Peer, message: String) {
        self.refuse(
            peer,
            None,
            Refusal {
                code: Code::BadLine,
                message,
            },
        );
    }

    /// What is to be sent now.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let update = self.update.as_ref();
        update
            .filter(|it| it.can_be_called_off())
            .map(|it| it.deadline)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        if let Some(update) = &self.update
            && now >= update.deadline
        {
            let late: Vec<_> = update.waiting().map(ToString::to_string).collect();
            self.call_off(&format!("not ready in time: {}", late.join(", ")));
        }
    }

    fn execute(&mut self, peer: Peer, who: Who, command: Command) -> Answer {
        if command_is_operators(&command) && !self.policy.is_operator(who.uid) {
            return Err(Refusal::new(
                Code::NotAllowed,
                format!(
                    "{} is for operators; user {} is none",
                    command.name(),
                    who.uid
                ),
            ));
        }
        match command {
            Command::Hello { version } => self.hello(peer, version),
            Command::Subscribe { id } => self.subscribe(peer, who, id),
            Command::Unsubscribe { id } => self.unsubscribe(peer, &id),
            Command::Ready { id } => self.ready(peer, id),
            Command::Veto { id, reason } => self.veto(peer, id, &reason),
            Command::Claim { id } => self.claim(peer, who, id),
            Command::Done { id } => self.done(peer, who, &id),
            Command::Status => self.status(who).map(|it| Some((it, None))),
            Command::Check => Ok(Some((Event::Check(self.check()), None))),
            Command::Update {
                timeout_ms,
                dry_run,
                force,
            } => {
                let timeout = timeout_ms.map_or(self.settings.timeout, Duration::from_millis);
                self.begin(peer, timeout, dry_run, force)
            }
            Command::Cancel => self.cancel(who),
            Command::Discard { id } => self.discard(&id),
            Command::KeepAdd {
                name,
                bytes,
                owner,
                checksum,
            } => self.keep_add(who, name, bytes, owner, checksum),
            Command::KeepRemove { name } => self.keep_remove(who, &name),
            Command::Timeline => self.timeline(),
            Command::Watch => {
                self.peer(peer).watches = true;
                Ok(Some((Event::Progress(self.progress()), None)))
            }
        }
    }

    fn hello(&mut self, peer: Peer, version: u32) -> Answer {
        if version == 0 {
            let message = "there is no version 0 of the protocol; the first is 1";
            return Err(Refusal::new(Code::BadCommand, message));
        }
        self.peer(peer).greeted = true;
        let version = version.min(VERSION);
        Ok(Some((
            Event::Hello {
                version,
                agent: NAME.into(),
            },
            None,
        )))
    }

    fn peer(&mut self, peer: Peer) -> &mut Connected {
        self.peers
            .get_mut(&peer)
            .expect("commands come from those that are connected")
    }

    /// Answers a command. Who has never said `HELLO` gets what the published protocol answers only.
    fn answer(&mut self, peer: Peer, event: Event, fd: Option<OwnedFd>) {
        let answers_nothing = matches!(
            event,
            Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::Done { .. }
        );
        let greeted = self.peers.get(&peer).is_some_and(|it| it.greeted);
        if greeted || !answers_nothing {
            let then = fd.is_some().then_some("claimed-session-sent");
            self.outputs.push(Output {
                to: peer,
                event,
                fd,
                then,
            });
        }
    }

    fn refuse(&mut self, peer: Peer, command: Option<&str>, refusal: Refusal) {
        if let Some(Connected { who, .. }) = self.peers.get(&peer) {
            let what = command.unwrap_or("a line");
            let text = format_args!(
                "refused {what} of process {} of user {}: {}",
                who.pid, who.uid, refusal.message
            );
            self.log_limit.say(who.uid, text);
        }
        self.send(peer, Event::error(command, refusal.code, refusal.message));
    }

    fn send(&mut self, to: Peer, event: Event) {
        self.outputs.push(Output {
            to,
            event,
            fd: None,
            then: None,
        });
    }

    /// Writes the ledger down.
    fn write_ledger(&self) -> io::Result<()> {
        let written = restore::Written {
            boot_id: self.settings.boot_id.clone(),
            ledger: &self.ledger,
        };
        manifest::store(&self.settings.state.join(LEDGER), &written)
    }

    /// The same where the command cannot be undone: a ledger of before costs an agent that starts again some knowledge only.
    fn note(&self) {
        if let Err(err) = self.write_ledger() {
            say(format_args!(
                "cannot write {LEDGER} in {}: {err}",
                self.settings.state.display()
            ));
        }
    }
}

/// The ledger's file.
const LEDGER: &str = "ledger.json";

fn command_is_operators(command: &Command) -> bool {
    matches!(
        command,
        Command::Check
            | Command::Update { .. }
            | Command::Cancel
            | Command::Discard { .. }
            | Command::Watch
    )
}

fn parse(text: &[u8]) -> Result<Command, Refusal> {
    let value: serde_json::Value = serde_json::from_slice(text)
        .map_err(|err| Refusal::new(Code::BadLine, format!("the line is no JSON: {err}")))?;
    if !value.is_object() {
        return Err(Refusal::new(Code::BadLine, "the line is no JSON object"));
    }
    serde_json::from_value(value)
        .map_err(|err| Refusal::new(Code::BadCommand, format!("the command is wrong: {err}")))
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn not_found(id: &Id, what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} {id}"))
    }
}

impl From<liveupdate::Error> for Refusal {
    fn from(err: liveupdate::Error) -> Self {
        Self::new(Code::Kernel, err.to_string())
    }
}

/// A line of the agent's log.
pub(crate) fn say(text: impl std::fmt::Display) {
    log::info!("{text}");
}

/// Marks a step of the update; see [`kill_point`].
fn reached(step: &'static str) {
    kill_point::reach(step);
}
