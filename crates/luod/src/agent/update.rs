// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The barrier: everybody is ready, or nothing happens.

use std::{
    collections::BTreeMap,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use liveupdate::{Outgoing, Session, SessionName, Token};

use super::{Agent, Answer, Output, Peer, Refusal, Who, reached, say};
use crate::{
    clock::Moment,
    kernel::Kernel,
    manifest::{self, KeptFile},
    protocol::{Code, Ended, Event, Id, Phase, Progress, Severity},
    vault::Key,
};

/// An update that is under way.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) asked_by: Peer,
    pub(super) dry_run: bool,
    pub(super) deadline: Instant,
    pub(super) asked: Moment,
    pub(super) ready: Option<Moment>,
    pub(super) members: BTreeMap<Id, Member>,
    pub(super) own: Option<Session<Outgoing>>,
    pub(super) kept: BTreeMap<Id, KeptFile>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) struct Member {
    peer: Peer,
    pub(super) session: Session<Outgoing>,
    ready: bool,
}

impl Update {
    pub(super) fn has(&self, id: &Id) -> bool {
        self.members.contains_key(id)
    }

    pub(super) fn can_be_called_off(&self) -> bool {
        self.phase == Phase::Preserving
    }

    pub(super) fn member_of(&self, peer: Peer) -> Option<Id> {
        let mut members = self.members.iter();
        members
            .find(|(_, it)| it.peer == peer)
            .map(|(id, _)| id.clone())
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Id> {
        self.members
            .iter()
            .filter(|(_, it)| !it.ready)
            .map(|(id, _)| id)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&Id, &Session<Outgoing>, bool)> {
        self.members
            .iter()
            .map(|(id, it)| (id, &it.session, it.ready))
    }
}

impl<K: Kernel> Agent<K> {
    pub(super) fn begin(
        &mut self,
        peer: Peer,
        timeout: Duration,
        dry_run: bool,
        force: bool,
    ) -> Answer {
        if self.update.is_some() {
            let message = "an update is under way; wait for its end, or cancel it";
            return Err(Refusal::new(Code::WrongState, message));
        }
        let check = self.check();
        let problems = check
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Problem);
        let problems: Vec<_> = problems.map(|it| it.message.clone()).collect();
        let too_late = self.refused_too_late();
        if too_late.is_some() || (!problems.is_empty() && !force) {
            let event = Event::Ended {
                outcome: Ended::Refused,
                reason: Some(too_late.unwrap_or_else(|| problems.join("; "))),
            };
            return Ok(Some((event, None)));
        }
        say(format_args!(
            "an update begins, {} clients have {timeout:?}",
            self.subscribed().len()
        ));
        reached("update-accepted");
        self.update = Some(Update {
            asked_by: peer,
            dry_run,
            deadline: Instant::now() + timeout,
            asked: Moment::now(),
            ready: None,
            members: BTreeMap::new(),
            own: None,
            kept: BTreeMap::new(),
            phase: Phase::Preserving,
        });
        self.kernel.prepare();
        if let Err(reason) = self.hand_out(timeout).and_then(|()| self.preserve_kept()) {
            self.end(Ended::Failed, Some(&reason));
            return Ok(None);
        }
        self.tell_progress();
        Ok(None)
    }

    /// What nobody may insist on: a kernel whose sessions somebody has refuses to be replaced, or loses them, and by then all
    /// programs have been ended.
    fn refused_too_late(&self) -> Option<String> {
        if self.kernel.leaves_at_once() || self.held.is_empty() {
            return None;
        }
        let ids: Vec<_> = self.held.keys().map(ToString::to_string).collect();
        Some(format!(
            "everything would be shut down, and the kernel still have sessions of the previous one: {}",
            ids.join(", ")
        ))
    }

    fn subscribed(&self) -> Vec<(Id, Peer)> {
        let of = |(peer, it): (&Peer, &super::Connected)| {
            let peer = *peer;
            it.ids
                .iter()
                .map(move |id| (id.clone(), peer))
                .collect::<Vec<_>>()
        };
        self.peers.iter().flat_map(of).collect()
    }

    /// A session for every client.
    fn hand_out(&mut self, timeout: Duration) -> Result<(), String> {
        for (id, peer) in self.subscribed() {
            let session = self.kernel.create(&id.session_name()).map_err(|err| match err.errno {
                rustix::io::Errno::EXIST => format!(
                    "the session of the last attempt is still open: {id} has to close it when it is told CANCELLED"
                ),
                _ => err.to_string(),
            })?;
            reached("session-created");
            self.park(&Key::Outgoing(id.clone()), &session)?;
            reached("session-parked");
            let fd = session
                .as_fd()
                .try_clone_to_owned()
                .map_err(|err| err.to_string())?;
            let deadline_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            let member = Member {
                peer,
                session,
                ready: false,
            };
            self.update
                .as_mut()
                .expect("it has begun")
                .members
                .insert(id.clone(), member);
            self.outputs.push(Output {
                to: peer,
                event: Event::StartPreservation { id, deadline_ms },
                fd: Some(fd),
                then: Some("session-sent"),
            });
        }
        Ok(())
    }

    fn park(&mut self, key: &Key, session: &Session<Outgoing>) -> Result<(), String> {
        self.vault
            .put(key, session.as_fd())
            .map_err(|err| format!("cannot put {key} where it would outlive the agent: {err}"))
    }

    /// The agent's own session, with the kept files; what stands in them may change until the end.
    fn preserve_kept(&mut self) -> Result<(), String> {
        let name = SessionName::new(manifest::SESSION).expect("it is short");
        let own = self.kernel.create(&name).map_err(|err| err.to_string())?;
        self.park(&Key::OutgoingOwn, &own)?;
        reached("own-session-parked");
        let mut kept = self.ledger.kept.clone();
        for (token, (name, file)) in (1..).step_by(2).zip(&mut kept) {
            let memory = self
                .keeper
                .file(name)
                .ok_or_else(|| format!("{name} is not there"))?;
            let preserved = self.kernel.preserve(&own, Token(token), memory.as_fd());
            preserved.map_err(|err| format!("the kept file {name}: {err}"))?;
            file.token = token;
            reached("kept-file-preserved");
        }
        let update = self.update.as_mut().expect("it has begun");
        (update.own, update.kept) = (Some(own), kept);
        Ok(())
    }

    pub(super) fn ready(&mut self, peer: Peer, id: Option<Id>) -> Answer {
        let id = self.meant(peer, id)?;
        let member = self.update.as_mut().and_then(|it| it.members.get_mut(&id));
        let Some(member) = member else {
            return Err(no_update(&id));
        };
        member.ready = true;
        reached("client-ready");
        self.tell_progress();
        Ok(None)
    }

    pub(super) fn veto(&mut self, peer: Peer, id: Option<Id>, reason: &str) -> Answer {
        let id = self.meant(peer, id)?;
        if !self.update.as_ref().is_some_and(|it| it.has(&id)) {
            return Err(no_update(&id));
        }
        self.call_off(&format!("{id} says no: {reason}"));
        Ok(None)
    }

    pub(super) fn cancel(&mut self, who: Who) -> Answer {
        match &self.update {
            None => return Err(Refusal::new(Code::WrongState, "no update is under way")),
            Some(update) if !update.can_be_called_off() => {
                let message = "it is too late: the kernel is being replaced";
                return Err(Refusal::new(Code::WrongState, message));
            }
            Some(_) => {}
        }
        let reason = format!("an operator (user {}) has cancelled it", who.uid);
        self.call_off(&reason);
        let ended = Event::Ended {
            outcome: Ended::Cancelled,
            reason: Some(reason),
        };
        Ok(Some((ended, None)))
    }

    /// Only while clients preserve. Later the machine may be going down already, clients and all, by somebody else's hand.
    pub(super) fn call_off(&mut self, reason: &str) {
        if self.update.as_ref().is_some_and(Update::can_be_called_off) {
            self.end(Ended::Cancelled, Some(reason));
        }
    }

    /// Everything is as it was before the update.
    pub(super) fn end(&mut self, outcome: Ended, reason: Option<&str>) {
        let Some(update) = self.update.take() else {
            return;
        };
        say(format_args!(
            "the update has ended: {outcome:?}; {}",
            reason.unwrap_or("as asked for")
        ));
        drop(update.own);
        self.forget(&Key::OutgoingOwn);
        for (id, member) in update.members {
            drop(member.session);
            self.forget(&Key::Outgoing(id.clone()));
            let reason = reason.unwrap_or("it was a rehearsal").to_owned();
            self.send(member.peer, Event::Cancelled { id, reason });
        }
        let event = Event::Ended {
            outcome,
            reason: reason.map(str::to_owned),
        };
        self.tell(update.asked_by, &event);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        if let Err(err) = self.vault.remove(key) {
            say(format_args!("cannot take {key} out of the vault: {err}"));
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let Some(update) = &self.update else {
            return Progress {
                phase: Phase::Idle,
                waiting: Vec::new(),
                ready: Vec::new(),
                left_ms: 0,
            };
        };
        let left = update.deadline.saturating_duration_since(Instant::now());
        let ready = update.members.iter().filter(|(_, it)| it.ready);
        Progress {
            phase: update.phase,
            waiting: update.waiting().cloned().collect(),
            ready: ready.map(|(id, _)| id.clone()).collect(),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn tell_progress(&mut self) {
        if let Some(update) = &self.update {
            self.tell(update.asked_by, &Event::Progress(self.progress()));
        }
    }

    /// Tells whoever asked for the update, and whoever watches.
    pub(super) fn tell(&mut self, asked_by: Peer, event: &Event) {
        let wants = |(peer, it): (&Peer, &super::Connected)| {
            (*peer == asked_by || it.watches).then_some(*peer)
        };
        let peers: Vec<_> = self.peers.iter().filter_map(wants).collect();
        for peer in peers {
            self.send(peer, event.clone());
        }
    }
}

fn no_update(id: &Id) -> Refusal {
    let message = format!("no update that {id} takes part in is under way");
    Refusal::new(Code::WrongState, message)
}
