// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Who is connected, and takes part in updates.

use std::collections::BTreeSet;

use super::{Agent, Answer, Refusal};
use crate::{
    kernel::Kernel,
    protocol::{Code, Event, Id},
};

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(pub u64);

/// Whose it is, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// Its process when it connected.
    pub pid: u32,
    /// Its user then.
    pub uid: u32,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) who: Who,
    pub(super) greeted: bool,
    pub(super) watches: bool,
    pub(super) ids: BTreeSet<Id>,
    /// What it has claimed.
    pub(super) claimed: BTreeSet<Id>,
}

/// More than one connection has any use for.
const MAX_IDS: usize = 1024;

impl Connected {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            greeted: false,
            watches: false,
            ids: BTreeSet::new(),
            claimed: BTreeSet::new(),
        }
    }
}

impl<K: Kernel> Agent<K> {
    pub(super) fn subscribe(&mut self, peer: Peer, who: Who, id: Id) -> Answer {
        if !self.policy.may_own(who.uid, &id) {
            return Err(not_owner(who, &id));
        }
        if self.update.is_some() {
            let message = format!("an update is under way; subscribe {id} after it");
            return Err(Refusal::new(Code::WrongState, message));
        }
        if let Some((other, _)) = self.peers.iter().find(|(_, it)| it.ids.contains(&id)) {
            if *other == peer {
                return Ok(Some((Event::Subscribed { id }, None)));
            }
            let message = format!("{id} is subscribed by another connection");
            return Err(Refusal::new(Code::Exists, message));
        }
        let connected = self.peer(peer);
        if connected.ids.len() == MAX_IDS {
            let message = format!("a connection has at most {MAX_IDS} ids");
            return Err(Refusal::new(Code::Limit, message));
        }
        connected.ids.insert(id.clone());
        if self.ledger.known.insert(id.clone(), who.uid) != Some(who.uid) {
            self.note();
        }
        Ok(Some((Event::Subscribed { id }, None)))
    }

    pub(super) fn unsubscribe(&mut self, peer: Peer, id: &Id) -> Answer {
        if self.update.as_ref().is_some_and(|it| it.has(id)) {
            let message = format!("an update is under way; say VETO to keep {id} out of it");
            return Err(Refusal::new(Code::WrongState, message));
        }
        if !self.peer(peer).ids.remove(id) {
            return Err(Refusal::not_found(id, "subscription of this connection to"));
        }
        self.ledger.known.remove(id);
        self.note();
        Ok(Some((Event::Unsubscribed { id: id.clone() }, None)))
    }

    /// The id that the client means, which it need not say if it has only one.
    pub(super) fn meant(&mut self, peer: Peer, id: Option<Id>) -> Result<Id, Refusal> {
        let ids = &self.peer(peer).ids;
        match (id, ids.first()) {
            (Some(id), _) if ids.contains(&id) => Ok(id),
            (Some(id), _) => Err(Refusal::not_found(
                &id,
                "subscription of this connection to",
            )),
            (None, Some(only)) if ids.len() == 1 => Ok(only.clone()),
            (None, None) => Err(Refusal::new(
                Code::NotFound,
                "this connection has not subscribed anything",
            )),
            (None, Some(_)) => Err(Refusal::new(
                Code::BadCommand,
                "this connection has several ids; say which one is meant",
            )),
        }
    }
}

pub(super) fn not_owner(who: Who, id: &Id) -> Refusal {
    let message = format!(
        "{id} does not belong to user {}; see the policy file",
        who.uid
    );
    Refusal::new(Code::NotAllowed, message)
}
