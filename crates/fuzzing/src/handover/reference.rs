// SPDX-License-Identifier: GPL-2.0-only

//! What LUO must make of the bytes that it finds, said a second time: plainly, without memory that could run out and
//! without locks.

mod flbs;

use super::layout::{Bytes, NAME, Pages};
use crate::keeper::{self, Event, Fate};
use flbs::Flbs;
use kernel::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The name of a session, as the bytes stand.
pub(super) type Name = [u8; NAME];

/// The kernel that finds the bytes.
pub(super) struct Reference {
    root: u64,
    found: Pages,
    /// The pages that nobody has claimed.
    waiting: Pages,
    freed: BTreeSet<u64>,
    flbs: Flbs,
    table: Table,
    calls: Vec<Event>,
}

enum Table {
    Unread(u64),
    Broken,
    Read(BTreeMap<Name, Session>),
}

struct Session {
    files_pa: u64,
    count: u64,
    phase: Phase,
    blocks: Vec<u64>,
    files: Vec<File>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unread,
    /// A handler is missing.
    Stuck,
    Available,
    CheckedOut,
    Broken,
}

#[derive(Clone, Copy)]
struct File {
    kind: usize,
    data: u64,
    token: u64,
    fate: Fate,
}

/// The entries of a chain of blocks, and where the blocks stand.
struct Chain {
    blocks: Vec<u64>,
    entries: Vec<Vec<u8>>,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Reference {
    /// With these pages, and the root at `root`.
    pub(super) fn new(root: u64, pages: Pages) -> Self {
        Self {
            root,
            waiting: pages.clone(),
            found: pages,
            freed: BTreeSet::new(),
            flbs: Flbs::None,
            table: Table::Broken,
            calls: Vec::new(),
        }
    }

    /// The calls of handlers since the last time.
    pub(super) fn calls(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.calls)
    }

    /// The pages that were handed over.
    pub(super) fn found(&self) -> &Pages {
        &self.found
    }

    /// Those of them that are free again.
    pub(super) fn freed(&self) -> &BTreeSet<u64> {
        &self.freed
    }

    /// The sessions that are there.
    pub(super) fn names(&self) -> Vec<Name> {
        match &self.table {
            Table::Read(sessions) => sessions.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a session can be retrieved.
    pub(super) fn is_available(&self, name: &Name) -> bool {
        match &self.table {
            Table::Read(sessions) => sessions[name].phase == Phase::Available,
            _ => false,
        }
    }

    /// The tokens of a session that is checked out.
    pub(super) fn tokens(&self, name: &Name) -> Vec<u64> {
        match &self.table {
            Table::Read(sessions) => sessions[name].files.iter().map(|it| it.token).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn boot(&mut self) -> Result {
        let root = self.waiting.remove(&self.root).ok_or(EINVAL)?;
        if !root.starts_with(b"luo-v5\0\0") {
            return Err(EINVAL);
        }
        self.table = match number(&root, 16) {
            0 => Table::Read(BTreeMap::new()),
            pa => Table::Unread(pa),
        };
        self.flbs = match number(&root, 24) {
            0 => Flbs::None,
            pa => {
                let flbs = self.waiting.remove(&pa).and_then(|it| Flbs::read(&it));
                if flbs.is_some() {
                    self.freed.insert(pa);
                }
                flbs.unwrap_or(Flbs::Broken)
            }
        };
        Ok(())
    }

    /// Follows a chain. What is claimed before it breaks stays claimed, for good.
    fn chain(&mut self, head: u64, entry: usize) -> Option<Chain> {
        let (mut blocks, mut entries) = (Vec::new(), Vec::new());
        let mut pa = head;
        while pa != 0 {
            let page: Bytes = self.waiting.remove(&pa)?;
            let count = usize::try_from(number(&page, 8)).ok()?;
            let slots: Vec<_> = page[16..].chunks_exact(entry).map(<[u8]>::to_vec).collect();
            entries.extend_from_slice(slots.get(..count)?);
            blocks.push(pa);
            pa = number(&page, 0);
        }
        Some(Chain { blocks, entries })
    }

    pub(super) fn open(&mut self) -> Result {
        if let Flbs::Broken = self.flbs {
            return Err(EIO);
        }
        self.read_sessions()
    }

    fn read_sessions(&mut self) -> Result {
        let head = match self.table {
            Table::Read(_) => return Ok(()),
            Table::Broken => return Err(EIO),
            Table::Unread(head) => head,
        };
        self.table = Table::Broken;
        let chain = self.chain(head, 80).ok_or(EIO)?;
        let mut sessions = BTreeMap::<Name, Session>::new();
        for entry in &chain.entries {
            // Nobody can ask for it.
            let Some(name) = name_of(&entry[..NAME]) else {
                continue;
            };
            if let Some(namesake) = sessions.get_mut(&name) {
                namesake.phase = Phase::Broken;
                continue;
            }
            let (files_pa, count) = (number(entry, 64), number(entry, 72));
            let session = Session {
                files_pa,
                count,
                phase: if (files_pa == 0) == (count == 0) {
                    Phase::Unread
                } else {
                    Phase::Broken
                },
                blocks: Vec::new(),
                files: Vec::new(),
            };
            sessions.insert(name, session);
        }
        let files = |it: &Session| (it.files_pa, it.count);
        let all: Vec<_> = sessions.values().map(files).collect();
        for session in sessions.values_mut().filter(|it| it.files_pa != 0) {
            if all.iter().filter(|it| **it == files(session)).count() > 1 {
                session.phase = Phase::Broken;
            }
        }
        self.freed.extend(chain.blocks);
        self.table = Table::Read(sessions);
        Ok(())
    }

    fn take(&mut self, name: &Name) -> Result<Session> {
        match &mut self.table {
            Table::Read(sessions) => sessions.remove(name).ok_or(ENOENT),
            _ => Err(ENOENT),
        }
    }

    fn put(&mut self, name: &Name, session: Session) {
        if let Table::Read(sessions) = &mut self.table {
            sessions.insert(*name, session);
        }
    }

    /// `RETRIEVE_SESSION`, with the device open.
    pub(super) fn retrieve(&mut self, name: &Name) -> Result {
        let name = &name_of(name).ok_or(ENOENT)?;
        let mut session = self.take(name)?;
        if session.phase == Phase::Unread {
            session.phase = self.read_files(&mut session);
        }
        let result = match session.phase {
            Phase::Available => {
                session.phase = Phase::CheckedOut;
                Ok(())
            }
            Phase::CheckedOut => Err(EINVAL),
            _ => Err(EIO),
        };
        self.put(name, session);
        result
    }

    fn read_files(&mut self, session: &mut Session) -> Phase {
        let Some(chain) = self.chain(session.files_pa, 64) else {
            return Phase::Broken;
        };
        if chain.entries.len() as u64 != session.count {
            return Phase::Broken;
        }
        let mut tokens = BTreeSet::new();
        for entry in &chain.entries {
            let (compatible, token) = (&entry[..48], number(entry, 56));
            if !compatible.contains(&0) || !tokens.insert(token) {
                return Phase::Broken;
            }
            let is_it = |name: &&str| {
                let (start, rest) = compatible.split_at(name.len());
                start == name.as_bytes() && rest.iter().all(|it| *it == 0)
            };
            let Some(kind) = keeper::HANDLERS.iter().position(is_it) else {
                return Phase::Stuck;
            };
            session.files.push(File {
                kind,
                data: number(entry, 48),
                token,
                fate: Fate::Untried,
            });
        }
        session.blocks = chain.blocks;
        Phase::Available
    }

    /// What a handler finds behind a handle.
    fn parcel(&mut self, file: &File) -> Result<u64> {
        let page = self.waiting.remove(&file.data).ok_or(EINVAL)?;
        if number(&page, 0) != keeper::MAGIC || number(&page, 8) != file.kind as u64 {
            return Err(EINVAL);
        }
        self.freed.insert(file.data);
        Ok(number(&page, 16))
    }

    /// `RETRIEVE_FD` of a session that is checked out.
    pub(super) fn file(&mut self, name: &Name, token: u64) -> Result<u64> {
        let mut session = self.take(name)?;
        let index = session.files.iter().position(|it| it.token == token);
        let result = index.ok_or(ENOENT).and_then(|index| {
            let file = &mut session.files[index];
            if file.fate == Fate::Untried {
                self.calls.push(Event::Retrieve(file.kind, file.data));
                file.fate = self.parcel(file).map_or(Fate::Failed, Fate::Done);
            }
            match file.fate {
                Fate::Done(contents) => Ok(contents),
                _ => Err(EINVAL),
            }
        });
        self.put(name, session);
        result
    }

    /// FINISH of a session that is checked out.
    pub(super) fn finish(&mut self, name: &Name) -> Result {
        let session = self.take(name)?;
        for file in session.files.iter().rev() {
            if file.fate == Fate::Untried {
                let _ = self.parcel(file);
            }
            self.calls
                .push(Event::Finish(file.kind, file.data, file.fate));
            for flb in keeper::LINKS[file.kind].iter().rev() {
                self.flbs.file_finished(*flb, &mut self.calls);
            }
        }
        self.freed.extend(session.blocks);
        Ok(())
    }

    /// Closes a session that is checked out.
    pub(super) fn close(&mut self, name: &Name) -> Result {
        let mut session = self.take(name)?;
        let fetched = |it: &File| matches!(it.fate, Fate::Done(_));
        let all_fetched = session.files.iter().all(fetched);
        session.phase = Phase::Available;
        self.put(name, session);
        if all_fetched {
            self.finish(name)
        } else {
            Ok(())
        }
    }

    /// `liveupdate_flb_get_incoming()`.
    pub(super) fn borrow(&mut self, number: usize) -> Result {
        self.flbs.borrow(number, &mut self.calls)
    }

    /// `liveupdate_flb_put_incoming()`.
    pub(super) fn give_back(&mut self, number: usize) -> Result {
        self.flbs.give_back(number, &mut self.calls)
    }

    /// `liveupdate_reboot()`.
    pub(super) fn reboot(&mut self) -> Result {
        let _ = self.read_sessions();
        for name in self.names() {
            let mut session = self.take(&name)?;
            if session.phase == Phase::Unread {
                session.phase = self.read_files(&mut session);
            }
            // The handlers here cannot pass a file on.
            let passed_on = match session.phase {
                Phase::Broken => true,
                Phase::Available => session.files.is_empty(),
                _ => false,
            };
            self.put(&name, session);
            if !passed_on {
                return Err(EBUSY);
            }
        }
        Ok(())
    }
}

/// The name up to its NUL, if it is one.
fn name_of(bytes: &[u8]) -> Option<Name> {
    let len = bytes.iter().position(|it| *it == 0).filter(|it| *it > 0)?;
    let mut name = [0; NAME];
    name[..len].copy_from_slice(&bytes[..len]);
    Some(name)
}
