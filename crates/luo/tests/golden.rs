// SPDX-License-Identifier: GPL-2.0-only

//! What C hands over, byte for byte: ours reads it, and writes the same for the same calls.

use kernel::{
    fs::{
        handle::{anon_file, Handle},
        File,
    },
    host::{self, Image},
    kho::{self, Preserved},
    liveupdate::{fget, FileHandler, FileOps, Flb, FlbObject, FlbOps, Module, Retrieval, Saved},
    prelude::*,
    sync::aref::ARef,
};
use luo::host_api;
use luo_simulation::{
    boot, create, finish, power_on_with, preserve, reboot, retrieve, retrieve_fd,
};
use std::collections::BTreeMap;

/// The calls, and what C made of them.
const TEXT: &str = include_str!("golden/c.txt");

type Bytes = [u8; 4096];

/// A session: its name, and tokens and contents of its files.
type Session = (&'static str, Vec<(u64, u64)>);

/// The handler of `luo_probe.c`: a file is a number, and its handle is that number.
struct Number(Module);

/// A file of that handler.
struct NumberFile(u64);

impl Handle for NumberFile {
    fn ioctl(&self, _: u32, _: usize) -> Result {
        Err(ENOTTY)
    }
}

fn new_file(value: u64) -> Result<ARef<File>> {
    anon_file(c"[luo_probe]", KBox::new(NumberFile(value), GFP_KERNEL)?)
}

fn value(file: &File) -> u64 {
    file.private::<NumberFile>().unwrap().0
}

impl FileOps for Number {
    fn compatible(&self) -> &str {
        "luo-probe-v1"
    }

    fn module(&self) -> &Module {
        &self.0
    }

    fn can_preserve(&self, file: &File) -> bool {
        file.private::<NumberFile>().is_some()
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        Ok(Saved { data: value(file) })
    }

    fn unpreserve(&self, _: &File, _: Saved) {}

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        new_file(data)
    }

    fn finish(&self, _: u64, _: Retrieval<'_>) {}
}

/// An FLB: its name, and its handle.
struct NumberFlb(&'static str, u64, Module);

/// The FLBs of that kernel, in the order in which they were linked: those of upstream's `liveupdate.c` for tests, which links
/// them to all handlers, and that of `luo_probe.c`.
const FLBS: [(&str, u64); 4] = [
    ("liveupdate-test-flb-v0", 0xfeed_f00d_cafe_bee0),
    ("liveupdate-test-flb-v1", 0xfeed_f00d_cafe_bee1),
    ("liveupdate-test-flb-v2", 0xfeed_f00d_cafe_bee2),
    ("luo-probe-flb-v1", 0x1bad_b002_cafe_f00d),
];

impl FlbOps for NumberFlb {
    fn compatible(&self) -> &str {
        self.0
    }

    fn module(&self) -> &Module {
        &self.2
    }

    fn preserve(&self) -> Result<(u64, FlbObject)> {
        Ok((self.1, FlbObject(1)))
    }

    fn unpreserve(&self, _: u64, _: FlbObject) {}

    fn retrieve(&self, data: u64) -> Result<FlbObject> {
        assert_eq!(data, self.1);
        Ok(FlbObject(2))
    }

    fn finish(&self, _: u64, obj: FlbObject) {
        assert_eq!(obj, FlbObject(2));
    }
}

/// The handler.
fn handler() -> FileHandler {
    FileHandler::new(Box::leak(Box::new(Number(Module::default()))))
}

/// Links all FLBs to it.
fn link_flbs(handler: FileHandler) {
    for (name, data) in FLBS {
        let flb = Box::leak(Box::new(NumberFlb(name, data, Module::default())));
        host_api::register_flb(handler, Flb::new(flb)).unwrap();
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// The calls.
fn sessions() -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for line in TEXT.lines() {
        if let Some(name) = line.strip_prefix("session ") {
            sessions.push((name, Vec::new()));
        } else if let Some(file) = line.strip_prefix("file ") {
            let (token, value) = file.split_once(' ').unwrap();
            sessions
                .last_mut()
                .unwrap()
                .1
                .push((hex(token), hex(value)));
        }
    }
    sessions
}

/// A hand-over: the address of its root, and all pages.
struct Pages {
    root: u64,
    pages: BTreeMap<u64, Bytes>,
}

/// What C made of the calls.
fn golden() -> Pages {
    let root = TEXT.lines().find_map(|line| line.strip_prefix("root "));
    let mut pages = BTreeMap::new();
    let mut address = None;
    for line in TEXT.lines() {
        if let Some(page) = line.strip_prefix("page ") {
            address = Some(hex(page));
        }
        let Some(page) = address.map(|it| pages.entry(it).or_insert([0_u8; 4096])) else {
            continue;
        };
        if let Some((offset, digits)) = line.split_once(": ") {
            let offset = usize::from_str_radix(offset, 16).unwrap();
            for (at, pair) in digits.as_bytes().chunks(2).enumerate() {
                let pair = core::str::from_utf8(pair).unwrap();
                page[offset + at] = u8::from_str_radix(pair, 16).unwrap();
            }
        }
    }
    let root = hex(root.unwrap());
    Pages { root, pages }
}

fn word(page: &Bytes, at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().unwrap())
}

/// The blocks of a chain.
fn chain(head: u64, page: &impl Fn(u64) -> Bytes) -> Vec<u64> {
    let there = |pa: &u64| *pa != 0;
    let next = |pa: &u64| Some(word(&page(*pa), 0)).filter(there);
    core::iter::successors(Some(head).filter(there), next).collect()
}

/// The addresses of all pages in the order in which a reader comes to them, each with the places of the addresses in it.
fn walk(root: u64, page: &impl Fn(u64) -> Bytes) -> Vec<(u64, Vec<usize>)> {
    let [sessions, flbs] = [16, 24].map(|at| word(&page(root), at));
    let mut walk = vec![(root, vec![16, 24]), (flbs, Vec::new())];
    for block in chain(sessions, page) {
        let bytes = page(block);
        let heads: Vec<_> = (0..word(&bytes, 8) as usize)
            .map(|it| 16 + 80 * it + 64)
            .collect();
        walk.push((block, [&[0], &heads[..]].concat()));
        for head in heads {
            let files = chain(word(&bytes, head), page);
            walk.extend(files.into_iter().map(|it| (it, vec![0])));
        }
    }
    walk
}

impl Pages {
    /// Those that ours has written.
    fn written() -> Self {
        let (root, _) = host::published(c"LUO").unwrap();
        let page = |pa| host::peek(pa).unwrap();
        let pages = walk(root, &page).into_iter().map(|(pa, _)| (pa, page(pa)));
        let pages = pages.collect();
        Self { root, pages }
    }

    fn walk(&self) -> Vec<(u64, Vec<usize>)> {
        walk(self.root, &|pa| self.pages[&pa])
    }

    /// In the order of the walk, with other addresses.
    fn moved(&self, to: &BTreeMap<u64, u64>) -> Vec<Bytes> {
        let moved = self.walk().into_iter().map(|(pa, addresses)| {
            let mut page = self.pages[&pa];
            for at in addresses {
                let address = word(&page, at);
                let address = if address == 0 { 0 } else { to[&address] };
                page[at..at + 8].copy_from_slice(&address.to_le_bytes());
            }
            page
        });
        moved.collect()
    }

    /// With their places in the walk as addresses.
    fn normalised(&self) -> Vec<Bytes> {
        let places = (1..).zip(self.walk()).map(|(place, (pa, _))| (pa, place));
        self.moved(&places.collect())
    }
}

#[test]
fn ours_writes_the_bytes_that_c_writes() {
    let handler = handler();
    power_on_with(&[handler]);
    link_flbs(handler);
    for (name, files) in sessions() {
        let session = create(name).unwrap();
        for (token, value) in files {
            let fd = host::link(new_file(value).unwrap()).unwrap();
            preserve(session, fd, token).unwrap();
            host::close(fd).unwrap();
        }
    }
    reboot().unwrap();

    let golden = golden().normalised();
    let ours = Pages::written().normalised();
    assert_eq!(ours.len(), golden.len());
    for (place, (ours, golden)) in ours.iter().zip(&golden).enumerate() {
        let differing = (0..4096).find(|it| ours[*it] != golden[*it]);
        assert_eq!(differing, None, "first differing byte of page {place}");
    }
}

#[test]
fn ours_reads_what_c_wrote() {
    // A kernel without LUO, that preserves these pages.
    host::load_image(Image::WithHandover);
    host::kexec();
    let golden = golden();
    let preserve = |(pa, _)| (pa, Preserved::new().unwrap());
    let preserved: Vec<(u64, Preserved<Bytes>)> = golden.walk().into_iter().map(preserve).collect();
    let addresses = preserved
        .iter()
        .map(|(pa, page)| (*pa, page.phys().0))
        .collect();
    for ((pa, mut page), bytes) in preserved.into_iter().zip(golden.moved(&addresses)) {
        *page = bytes;
        if pa == golden.root {
            kho::add_subtree(c"LUO", &page).unwrap();
        }
        core::mem::forget(page);
    }
    host::load_image(Image::WithHandover);
    host::kexec();
    let handler = handler();
    boot(&[handler]);
    link_flbs(handler);

    for (name, files) in sessions() {
        let session = retrieve(name).unwrap();
        for (token, expected) in files {
            let fd = retrieve_fd(session, token).unwrap();
            assert_eq!(value(&fget(fd).unwrap()), expected);
        }
        finish(session).unwrap();
    }
    let left = [c"root of the previous kernel", c"own root", c"own FLBs"];
    assert_eq!(host::pages_in_use(), left.len());
    assert_eq!(reboot(), Ok(()));
}
