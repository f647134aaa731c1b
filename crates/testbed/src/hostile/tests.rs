// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The reader and the cases, on a small handover made here.

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt as _};

use luo_guest::proto::survey::{Held, Sought};
use tempfile::NamedTempFile;
use vm_fdt::FdtWriter;

use super::{
    case,
    field::{Concern, Structure},
    handover::Handover,
    memory::Memory,
};

const ROOT: u64 = 0x10_000;
const SESSIONS: u64 = 0x20_000;
const FILES: [u64; 2] = [0x30_000, 0x38_000];
const FLBS: u64 = 0x40_000;
const MEMFD: u64 = 0x50_000;
const CHUNK: u64 = 0x51_000;
const FOLIOS: u64 = 0x52_000;
const CONTENT: u64 = 0x53_000;
const DEVICE_TREE: u64 = 0x60_000;
const TABLES: [u64; 6] = [0x61_000, 0x62_000, 0x63_000, 0x64_000, 0x65_000, 0x66_000];

struct Bytes(File);

impl Bytes {
    fn put(&self, at: u64, numbers: &[u64]) {
        for (number, at) in numbers.iter().zip((at..).step_by(8)) {
            self.0.write_all_at(&number.to_le_bytes(), at).unwrap();
        }
    }

    fn text(&self, at: u64, text: &str) {
        self.0.write_all_at(text.as_bytes(), at).unwrap();
    }
}

/// Session "a" has a memfd of one page, session "b" a file of the test handler; there is an FLB.
fn handover() -> (NamedTempFile, Vec<Sought>) {
    let file = NamedTempFile::new().unwrap();
    let memory = Bytes(file.reopen().unwrap());
    memory.0.set_len(1 << 20).unwrap();
    // A page that only looks like a root comes first.
    memory.text(0x1000, "luo-v5");
    memory.text(ROOT, "luo-v5");
    memory.put(ROOT + 8, &[1, SESSIONS, FLBS]);
    memory.put(SESSIONS, &[0, 2]);
    let handlers = ["memfd-v2", "luo-probe-v1"];
    for (number, (name, data)) in [("a", MEMFD), ("b", 77)].into_iter().enumerate() {
        let entry = SESSIONS + 16 + 80 * number as u64;
        memory.text(entry, name);
        memory.put(entry + 64, &[FILES[number], 1]);
        memory.put(FILES[number], &[0, 1]);
        memory.text(FILES[number] + 16, handlers[number]);
        memory.put(FILES[number] + 16 + 48, &[data, 5]);
    }
    memory.put(FLBS, &[1, 1]);
    memory.text(FLBS + 16, "flb");
    memory.put(FLBS + 16 + 48, &[9, 1]);
    memory.put(MEMFD, &[0, 4096, 0, 1, CHUNK, 1]);
    memory.put(CHUNK, &[0, FOLIOS]);
    memory.put(FOLIOS, &[(3 << 52) | (CONTENT / 4096), 0]);
    memory.text(CONTENT, "content");
    memory
        .0
        .write_all_at(&device_tree().unwrap(), DEVICE_TREE)
        .unwrap();
    for tables in TABLES.windows(2) {
        memory.put(tables[0] + 16, &[tables[1]]);
    }
    memory.put(TABLES[5] + 8, &[0xf0]);
    let sought = |name: &str, held| Sought {
        name: name.into(),
        files: vec![(5, held)],
    };
    (
        file,
        vec![sought("a", Held::Page(1)), sought("b", Held::Probe(77))],
    )
}

fn device_tree() -> vm_fdt::FdtWriterResult<Vec<u8>> {
    let mut tree = FdtWriter::new()?;
    let root = tree.begin_node("")?;
    tree.property_string("compatible", "kho-v4")?;
    tree.property("preserved-memory-map", &TABLES[0].to_le_bytes())?;
    let luo = tree.begin_node("LUO")?;
    tree.property("preserved-data", &ROOT.to_le_bytes())?;
    tree.property("blob-size", &32_u64.to_le_bytes())?;
    tree.end_node(luo)?;
    tree.end_node(root)?;
    tree.finish()
}

fn read() -> Handover {
    let (file, sought) = handover();
    let memory = Memory::open(file.path()).unwrap();
    let handover = Handover::read(&memory, &sought).unwrap();
    handover.with_kho(&memory).unwrap()
}

#[test]
fn every_field_of_every_structure_is_found() {
    let handover = read();
    let number = |name: &str| {
        let field = handover.fields.iter().find(|field| field.name == name);
        field.unwrap_or_else(|| panic!("no field {name}")).number()
    };
    assert_eq!(number("root.sessions_pa"), SESSIONS);
    assert_eq!(number("flb-0.data"), 9);
    assert_eq!(number("session-block-0.count"), 2);
    assert_eq!(number("b.files_pa"), FILES[1]);
    assert_eq!(number("a/0x5.token"), 5);
    assert_eq!(number("b/0x5.data"), 77);
    assert_eq!(number("a/0x5.size"), 4096);
    assert_eq!(number("a/0x5/chunk.phys-0"), FOLIOS);
    assert_eq!(number("a/0x5/folio-0.frame") & 0xffff, CONTENT / 4096);
    assert_eq!(number(".preserved-memory-map"), TABLES[0]);
    assert_eq!(number("LUO.preserved-data"), ROOT);
    assert_eq!(number("[2][2][2][2][2][1]"), 0xf0);
    let structures: BTreeSet<_> = handover.fields.iter().map(|it| it.structure).collect();
    assert_eq!(structures, Structure::ALL.into());
    assert_eq!(handover.owner(CONTENT + 9), Concern::of(0));
    assert_eq!(handover.owner(FLBS), Concern::All);
    assert_eq!(handover.owner(0x90_000), Concern::nobody());
}

#[test]
fn another_handover_is_not_taken_for_ours() {
    let (file, mut sought) = handover();
    sought.swap(0, 1);
    let memory = Memory::open(file.path()).unwrap();
    assert!(Handover::read(&memory, &sought).is_err());
}

#[test]
fn each_case_has_a_name_of_its_own_and_changes_something() {
    let handover = read();
    let mut cases = case::enumerated(&handover);
    cases.extend(case::flips(&handover, 50, 7));
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        let [patch] = &case.patches[..] else {
            panic!("{} changes several things", case.name)
        };
        let old = handover.fields.iter().find(|it| it.at == patch.physical);
        let is_flip = case.name.starts_with("flip-");
        assert!(
            is_flip || old.unwrap().bytes != patch.bytes,
            "{}",
            case.name
        );
    }
}

#[test]
fn who_is_pointed_at_is_concerned() {
    let cases = case::enumerated(&read());
    let concern = |name: &str| {
        let case = cases.iter().find(|case| case.name == name);
        &case.unwrap_or_else(|| panic!("no case {name}")).concern
    };
    let both = Concern::Sessions([0, 1].into());
    assert_eq!(concern("session/b.files_pa/2^52"), &Concern::of(1));
    assert_eq!(concern("session/b.files_pa/to:a/block-0"), &both);
    assert_eq!(concern("session/b.name/is:a.name"), &both);
    assert_eq!(concern("session/b.files_pa/to:flb-page"), &Concern::All);
    assert_eq!(
        concern("session-block/session-block-0.count/0"),
        &Concern::All
    );
}

#[test]
fn a_seed_gives_the_same_cases_of_all_kinds() {
    let handover = read();
    let names = |seed| {
        let mut cases = case::enumerated(&handover);
        cases.extend(case::flips(&handover, 50, seed));
        let sample = case::sample(cases, 32, seed);
        let kinds: BTreeSet<_> = sample.iter().map(|case| case.structure).collect();
        assert_eq!(kinds.len(), Structure::ALL.len());
        let flipped = sample
            .iter()
            .map(|case| (case.name.clone(), case.patches.clone()));
        flipped.collect::<Vec<_>>()
    };
    assert_eq!(names(3).len(), 32);
    assert_eq!(names(3), names(3));
    assert_ne!(names(3), names(4));
}
