// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Sessions that came from the previous kernel, on their way back to their owners.

use std::os::fd::AsFd as _;

use liveupdate::{Incoming, Operation, Session};
use rustix::io::Errno;

use super::{Agent, Answer, Peer, Refusal, Who, peers::not_owner, reached, say};
use crate::{
    clock::Moment,
    kernel::Kernel,
    protocol::{Code, Event, Id},
    vault::Key,
};

/// As the kernel calls a session that is over.
const FINISHED: &str = "finished";

impl<K: Kernel> Agent<K> {
    pub(super) fn claim(&mut self, peer: Peer, who: Who, id: Id) -> Answer {
        reached("claim-received");
        self.owned(who, &id)?;
        let is_early = self.early.remove(&id);
        if !self.held.contains_key(&id) {
            let session = self.fetch(&id)?;
            reached("claimed-session-parked");
            self.held.insert(id.clone(), session);
            self.note_claim(&id);
        } else if is_early {
            self.note_claim(&id);
        }
        let fd = self.held[&id].as_fd().try_clone_to_owned();
        let fd = fd.map_err(|err| Refusal::new(Code::Limit, err.to_string()))?;
        self.peer(peer).claimed.insert(id.clone());
        say(format_args!(
            "{id} goes to process {} of user {}",
            who.pid, who.uid
        ));
        Ok(Some((Event::Claimed { id }, Some(fd))))
    }

    /// Whether a client has a session, or has had it.
    pub(super) fn is_claimed(&self, id: &Id) -> bool {
        self.held.contains_key(id) && !self.early.contains(id)
    }

    /// Whether this user may have this session. Operators may, for what no manifest knows, too.
    fn owned(&self, who: Who, id: &Id) -> Result<(), Refusal> {
        let is_operator = self.policy.is_operator(who.uid);
        match self.ledger.incoming.get(id) {
            Some(arrived) if arrived.carried.uid != who.uid && !is_operator => {
                Err(not_owner(who, id))
            }
            Some(_) => Ok(()),
            None if is_operator && !self.ledger.complaints.is_empty() => Ok(()),
            None => Err(Refusal::not_found(
                id,
                "session of the previous kernel that waits for",
            )),
        }
    }

    fn fetch(&mut self, id: &Id) -> Result<Session<Incoming>, Refusal> {
        let err = match self
            .vault
            .retrieve(&Key::Incoming(id.clone()), &id.session_name())
        {
            Ok(fd) => return Ok(fd.into()),
            Err(err) => err,
        };
        let refusal = Refusal::new(Code::Kernel, format!("{err}; the kernel log may say more"));
        match (err.operation, err.errno) {
            // Somebody has finished it without the agent.
            (Operation::RetrieveSession, Errno::NOENT) => {
                self.over(id);
                Err(Refusal::not_found(
                    id,
                    "session of the previous kernel that waits for",
                ))
            }
            // It may be had later: when memory is free, or a module is loaded.
            _ => {
                if let Some(arrived) = self.ledger.incoming.get_mut(id) {
                    arrived.unavailable = Some(err.to_string());
                    self.note();
                }
                Err(refusal)
            }
        }
    }

    /// What the ledger says of claims changes with the first that succeeds again, and with the last: to write it down for each
    /// would take most of the time that many clients wait for theirs.
    fn note_claim(&mut self, id: &Id) {
        let arrived = self.ledger.incoming.get_mut(id);
        let was_unavailable = arrived.is_some_and(|it| it.unavailable.take().is_some());
        let incoming = &self.ledger.incoming;
        let is_last = incoming.len() + self.early.len() <= self.held.len()
            && incoming.keys().all(|it| self.is_claimed(it));
        match &mut self.ledger.arrival {
            Some(arrival) if is_last && arrival.claimed.is_none() => {
                arrival.claimed = Some(Moment::now());
            }
            _ if was_unavailable => {}
            _ => return,
        }
        self.note();
    }

    pub(super) fn done(&mut self, peer: Peer, who: Who, id: &Id) -> Answer {
        reached("done-received");
        // The kernel may have told that it is finished before the client did.
        let is_swept = !self.ledger.incoming.contains_key(id) && !self.held.contains_key(id);
        if is_swept && self.peer(peer).claimed.contains(id) {
            return Ok(Some((Event::Done { id: id.clone() }, None)));
        }
        self.owned(who, id)?;
        let Some(session) = self.held.get(id).filter(|_| self.is_claimed(id)) else {
            let message = format!("{id} has not been claimed");
            return Err(Refusal::new(Code::WrongState, message));
        };
        let state = self.kernel.info(session.as_fd()).map(|it| it.state);
        if state.is_some_and(|it| it != FINISHED) {
            let message = format!("the session of {id} is not finished: call FINISH on it first");
            return Err(Refusal::new(Code::WrongState, message));
        }
        self.over(id);
        reached("done-written");
        Ok(Some((Event::Done { id: id.clone() }, None)))
    }

    /// For operators: what nobody wants.
    pub(super) fn discard(&mut self, id: &Id) -> Answer {
        if !self.ledger.incoming.contains_key(id) && !self.held.contains_key(id) {
            return Err(Refusal::not_found(
                id,
                "session of the previous kernel that waits for",
            ));
        }
        if !self.held.contains_key(id) {
            match self.fetch(id) {
                Ok(session) => drop(self.held.insert(id.clone(), session)),
                // What the kernel cannot give stays in memory until a cold boot; to carry on with it is no use.
                Err(refusal) => say(format_args!("{id} is given up unseen: {}", refusal.message)),
            }
        }
        if let Some(session) = self.held.get(id) {
            self.kernel.finish(session)?;
        }
        say(format_args!("{id} is discarded"));
        self.over(id);
        Ok(Some((Event::Done { id: id.clone() }, None)))
    }

    /// Nobody needs the session any more.
    fn over(&mut self, id: &Id) {
        self.ledger.incoming.remove(id);
        self.note();
        self.held.remove(id);
        self.early.remove(id);
        self.forget(&Key::Incoming(id.clone()));
    }

    /// Looks among these for sessions that are finished, but whose clients do not say so, since they do not know `DONE`.
    pub(super) fn sweep(&mut self, among: impl Fn(&Id) -> bool) {
        let is_over = |session: &Session<Incoming>| {
            self.kernel
                .info(session.as_fd())
                .is_some_and(|it| it.state == FINISHED)
        };
        let held = self.held.iter();
        let over = held.filter(|(id, session)| among(id) && is_over(session));
        let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
        for id in over {
            self.over(&id);
        }
    }
}
