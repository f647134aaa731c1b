// SPDX-License-Identifier: GPL-2.0-only

//! What a hand-over was made from, and where it stands in memory.

use super::{SessionPlan, Size};
use crate::keeper;
use kernel::{host, kho::Preserved};
use luo_simulation::{create, image::number, preserve, reboot};
use std::collections::{BTreeMap, BTreeSet};

/// The bytes of a page.
pub(super) type Bytes = [u8; 4096];
/// All pages that are handed over, by address.
pub(super) type Pages = BTreeMap<u64, Bytes>;

/// The length of a session's name.
pub(super) const NAME: usize = 64;

/// A preserved file.
#[derive(Clone, Copy)]
pub(super) struct File {
    pub(super) token: u64,
    pub(super) contents: u64,
}

/// A preserved session.
pub(super) struct Session {
    pub(super) name: String,
    pub(super) files: Vec<File>,
    /// Its blocks of files.
    pub(super) blocks: Vec<u64>,
    /// The handles of its files.
    pub(super) parcels: Vec<u64>,
}

/// A hand-over.
pub(super) struct Layout {
    pub(super) root: u64,
    pub(super) flbs: u64,
    /// The blocks of sessions.
    pub(super) blocks: Vec<u64>,
    pub(super) sessions: Vec<Session>,
    /// What others preserved.
    pub(super) strangers: Vec<u64>,
    /// What it was before it was corrupted.
    pristine: Pages,
}

/// How many sessions fill a block, so that more need a second.
const FILL: usize = 51;

/// A page that another part of the kernel preserves.
fn stranger(byte: u8) -> u64 {
    let mut page: Preserved<Bytes> = Preserved::new().unwrap();
    page.fill(byte);
    let pa = page.phys().0;
    core::mem::forget(page);
    pa
}

impl Session {
    fn create_empty(name: String) -> Self {
        create(&name).unwrap();
        Self {
            name,
            files: Vec::new(),
            blocks: Vec::new(),
            parcels: Vec::new(),
        }
    }

    fn create(index: usize, plan: &SessionPlan, long: bool) -> Self {
        let name = format!("session-{index}");
        let fd = create(&name).unwrap();
        let nr_files = match plan.size {
            Size::Few(files) => usize::from(files % 4),
            Size::TwoBlocks => {
                if long {
                    65
                } else {
                    1
                }
            }
        };
        let preserve_file = |number: usize| {
            let token = number as u64 * 7 + 1;
            let contents = (index as u64) << 32 | token;
            let kind = usize::from(plan.kinds >> (number % 8) & 1);
            let file = keeper::create(kind, contents).unwrap();
            preserve(fd, file, token).unwrap();
            host::close(file).unwrap();
            File { token, contents }
        };
        Self {
            name,
            files: (0..nr_files).map(preserve_file).collect(),
            blocks: Vec::new(),
            parcels: Vec::new(),
        }
    }

    fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.iter().chain(&self.parcels).copied()
    }
}

impl Layout {
    /// Powers a machine on, preserves what the plans say, and hands it over. `two_blocks` puts so many empty sessions
    /// before the last that there are two blocks of them.
    pub(super) fn preserve(plans: &[SessionPlan], two_blocks: bool) -> Self {
        keeper::power_on();
        let plans = &plans[..plans.len().min(5)];
        let mut sessions = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            if two_blocks && index + 1 == plans.len() {
                let names = (0..FILL).map(|it| format!("filler-{it}"));
                sessions.extend(names.map(Session::create_empty));
            }
            // One long session is enough.
            let long = matches!(plan.size, Size::TwoBlocks) && index == 0;
            sessions.push(Session::create(index, plan, long));
        }
        let layout = Self {
            root: 0,
            flbs: 0,
            blocks: Vec::new(),
            sessions,
            strangers: [0xA5, 0xFF].map(stranger).to_vec(),
            pristine: Pages::new(),
        };
        reboot().unwrap();
        layout.locate()
    }

    /// Finds out where everything stands, after the hand-over.
    fn locate(mut self) -> Self {
        let (root, _) = host::published(c"LUO").unwrap();
        self.root = root;
        self.flbs = number(root, 24);
        self.blocks = chain(number(root, 16));
        for index in 0..self.sessions.len() {
            let (block, slot) = (self.blocks[index / FILL], index % FILL);
            let session = &mut self.sessions[index];
            session.blocks = chain(number(block, 16 + 80 * slot + 64));
            let parcel = |file| number(session.blocks[file / 63], 16 + 64 * (file % 63) + 48);
            session.parcels = (0..session.files.len()).map(parcel).collect();
        }
        self.pristine = self.pages();
        self
    }

    /// All pages as they are now.
    pub(super) fn pages(&self) -> Pages {
        let of_sessions = self.sessions.iter().flat_map(Session::pages);
        let own = [self.root, self.flbs]
            .into_iter()
            .chain(self.blocks.iter().copied());
        let all = own.chain(of_sessions).chain(self.strangers.iter().copied());
        all.map(|pa| (pa, host::peek(pa).unwrap())).collect()
    }

    /// The sessions that the corruption, which has led to `now`, must not harm: nothing of theirs has changed, nothing
    /// that all depend on has changed, nobody else has their name, and nothing that has changed looks like an address of theirs.
    pub(super) fn unharmed(&self, now: &Pages) -> BTreeSet<usize> {
        let same = |pa: u64, range: core::ops::Range<usize>| {
            self.pristine[&pa][range.clone()] == now[&pa][range]
        };
        // The number of the live update may be any.
        let mut common = same(self.root, 0..8) && same(self.root, 16..32);
        common &= same(self.flbs, 0..4096);
        common &= self.blocks.iter().all(|block| same(*block, 0..16));
        if !common {
            return BTreeSet::new();
        }
        let mentioned = self.mentioned(now);
        let place = |index: usize| (self.blocks[index / FILL], 16 + 80 * (index % FILL));
        let name = |index: usize| {
            let (block, record) = place(index);
            now[&block][record..record + NAME]
                .split(|it| *it == 0)
                .next()
        };
        let namesakes = |of: usize| {
            let all = 0..self.sessions.len();
            all.filter(|it| name(*it) == name(of)).count()
        };
        let unharmed = self.sessions.iter().enumerate().filter(|(index, it)| {
            let (block, record) = place(*index);
            same(block, record..record + 80)
                && namesakes(*index) == 1
                && it
                    .pages()
                    .all(|pa| same(pa, 0..4096) && !mentioned.contains(&pa))
        });
        unharmed.map(|(index, _)| index).collect()
    }

    /// The pages of others that are as they were.
    pub(super) fn untouched_strangers(&self, now: &Pages) -> impl Iterator<Item = &u64> {
        self.strangers
            .iter()
            .filter(|pa| self.pristine[pa] == now[pa])
    }

    /// The numbers that were not there before.
    fn mentioned(&self, now: &Pages) -> BTreeSet<u64> {
        let words = |page: &Bytes| {
            page.as_chunks()
                .0
                .iter()
                .map(|it| u64::from_le_bytes(*it))
                .collect::<Vec<_>>()
        };
        let changed = |pa: &u64| {
            let (before, now) = (words(&self.pristine[pa]), words(&now[pa]));
            let pairs = before.into_iter().zip(now);
            pairs
                .filter(|(before, now)| before != now)
                .map(|(_, now)| now)
                .collect::<Vec<_>>()
        };
        now.keys().flat_map(changed).collect()
    }
}

/// The blocks of a set.
fn chain(head: u64) -> Vec<u64> {
    let next = |pa: &u64| Some(number(*pa, 0)).filter(|it| *it != 0);
    core::iter::successors(Some(head).filter(|it| *it != 0), next).collect()
}
