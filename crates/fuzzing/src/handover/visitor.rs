// SPDX-License-Identifier: GPL-2.0-only

//! A program in the new kernel, that compares what it gets with what it should.

use super::{
    Visit,
    layout::Layout,
    reference::{Name, Reference},
};
use crate::{keeper, retrieve};
use kernel::{host, prelude::*};
use luo::host_api;
use luo_simulation::{finish, open_device, reboot, retrieve_fd};
use std::collections::{BTreeMap, BTreeSet};

/// The program.
pub(super) struct Visitor<'a> {
    layout: &'a Layout,
    reference: Reference,
    /// The sessions that must be got back whole.
    unharmed: BTreeSet<Name>,
    /// The descriptors of the sessions that it has.
    held: BTreeMap<Name, i32>,
    /// Those that it has ended, by FINISH or by a close.
    ended: BTreeSet<Name>,
    /// The names that it can think of.
    names: Vec<Name>,
}

fn padded(name: &str) -> Name {
    let mut padded = [0; 64];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}

impl<'a> Visitor<'a> {
    /// In a kernel that has not been booted yet. `reference` is the same kernel.
    pub(super) fn new(
        layout: &'a Layout,
        unharmed: &BTreeSet<usize>,
        reference: Reference,
    ) -> Self {
        let name = |index: &usize| padded(&layout.sessions[*index].name);
        Self {
            layout,
            reference,
            unharmed: unharmed.iter().map(name).collect(),
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
            names: layout.sessions.iter().map(|it| padded(&it.name)).collect(),
        }
    }

    /// Boots, does what the plan says, then gets and ends everything that is there.
    pub(super) fn run(&mut self, visits: &[Visit]) {
        let booted = keeper::boot();
        assert_eq!(booted, self.reference.boot(), "boot");
        if booted.is_err() {
            return;
        }
        let opened = open_device().map(|fd| host::close(fd).unwrap());
        assert_eq!(opened, self.reference.open(), "open");
        if opened.is_ok() {
            self.names.extend(self.reference.names());
            visits.iter().for_each(|it| self.visit(*it));
            for name in self.names.clone() {
                self.fetch(&name);
            }
        }
        self.check_pages();
        let rebooted = reboot();
        assert_eq!(rebooted, self.reference.reboot(), "reboot");
        self.check_pages();
        if rebooted.is_ok() {
            self.go_on();
        }
    }

    /// The kernel after that has nothing to do with it any more, but with the sessions that were passed on.
    fn go_on(&self) {
        let passed_on = self.reference.names();
        let passed_on = passed_on
            .iter()
            .filter(|it| self.reference.is_available(it));
        let passed_on: Vec<_> = passed_on.collect();
        host::kexec();
        keeper::boot().unwrap();
        host::close(open_device().unwrap()).unwrap();
        for name in &self.names {
            let retrieved = retrieve(name);
            assert_eq!(retrieved.is_ok(), passed_on.contains(&name));
            if let Ok(session) = retrieved {
                finish(session).unwrap();
                host::close(session).unwrap();
            }
        }
        assert_eq!(reboot(), Ok(()));
    }

    fn visit(&mut self, visit: Visit) {
        let nth = |of: usize, index: u8| usize::from(index).checked_rem(of);
        let held = |index| {
            let index = nth(self.held.len(), index)?;
            self.held.keys().nth(index).copied()
        };
        match visit {
            Visit::Retrieve(index) => {
                if let Some(index) = nth(self.names.len(), index) {
                    self.retrieve(&self.names[index].clone());
                }
            }
            Visit::File(session, file) => {
                if let Some(name) = held(session) {
                    let mut tokens = self.reference.tokens(&name);
                    tokens.push(0xBAD);
                    self.file(&name, tokens[usize::from(file) % tokens.len()]);
                }
            }
            Visit::Finish(session) => {
                if let Some(name) = held(session) {
                    self.end(&name, Reference::finish, finish);
                }
            }
            Visit::Close(session) => {
                if let Some(name) = held(session) {
                    self.end(&name, Reference::close, |_| Ok(()));
                }
            }
            Visit::Borrow(flb) => {
                let flb = usize::from(flb % 2);
                let borrowed = host_api::flb_get_incoming(keeper::flb(flb)).map(drop);
                assert_eq!(borrowed, self.reference.borrow(flb), "{visit:?}");
            }
            Visit::GiveBack(flb) => {
                let flb = usize::from(flb % 2);
                let given_back = host_api::flb_put_incoming(keeper::flb(flb));
                assert_eq!(given_back, self.reference.give_back(flb), "{visit:?}");
            }
        }
        self.check_calls();
    }

    /// Gets a session with all its files, and ends it.
    fn fetch(&mut self, name: &Name) {
        if !self.held.contains_key(name) {
            self.retrieve(name);
        }
        if self.held.contains_key(name) {
            for token in self.reference.tokens(name) {
                self.file(name, token);
            }
            self.end(name, Reference::finish, finish);
        }
        self.check_calls();
    }

    fn retrieve(&mut self, name: &Name) {
        let retrieved = retrieve(name);
        assert_eq!(
            retrieved.map(drop),
            self.reference.retrieve(name),
            "{name:?}"
        );
        if let Ok(fd) = retrieved {
            self.held.insert(*name, fd);
        }
        let there = self.held.contains_key(name) || self.ended.contains(name);
        assert!(there || !self.unharmed.contains(name), "{name:?} is lost");
    }

    fn file(&mut self, name: &Name, token: u64) {
        let fd = retrieve_fd(self.held[name], token);
        let contents = fd.map(|fd| {
            let contents = keeper::contents(fd).unwrap();
            host::close(fd).unwrap();
            contents
        });
        let expected = self.reference.file(name, token);
        assert_eq!(contents, expected, "{name:?}, token {token:#x}");
        if self.unharmed.contains(name) {
            let session = self
                .layout
                .sessions
                .iter()
                .find(|it| padded(&it.name) == *name);
            let file = session.unwrap().files.iter().find(|it| it.token == token);
            assert_eq!(contents, file.map(|it| it.contents).ok_or(ENOENT));
        }
    }

    /// FINISH or just a close.
    fn end(
        &mut self,
        name: &Name,
        expected: fn(&mut Reference, &Name) -> Result,
        end: fn(i32) -> Result,
    ) {
        let fd = self.held.remove(name).unwrap();
        assert_eq!(end(fd), expected(&mut self.reference, name), "{name:?}");
        host::close(fd).unwrap();
        if !self.reference.names().contains(name) {
            self.ended.insert(*name);
        }
    }

    fn check_calls(&mut self) {
        assert_eq!(keeper::calls(), self.reference.calls());
    }

    /// Nothing is freed but what the reference frees, and what is a stranger's is as it was.
    fn check_pages(&self) {
        for (pa, before) in self.reference.found() {
            let now = host::peek(*pa);
            assert_eq!(
                now.is_none(),
                self.reference.freed().contains(pa),
                "{pa:#x}"
            );
            if self.layout.strangers.contains(pa) {
                assert!(now.is_none_or(|it| it == *before), "{pa:#x} was written to");
            }
        }
        let freed = |pa: &&u64| self.reference.freed().contains(pa);
        let stranger = self
            .layout
            .untouched_strangers(self.reference.found())
            .find(freed);
        assert_eq!(stranger, None, "a stranger's page is freed");
    }
}
