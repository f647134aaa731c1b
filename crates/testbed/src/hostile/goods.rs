// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What is handed over, to be corrupted: as many sessions, and as many files in one, as take two blocks; memfds of every shape,
//! files of the test handler, FLBs of both handlers.

use luo_guest::{
    pattern::Content,
    proto::{
        MemfdSpec, Pages,
        survey::{Held, Sought},
    },
};

/// More than the 51 of a block.
const SESSIONS: usize = 60;
/// More than the 63 of a block.
const MANY_FILES: u64 = 70;
/// The last session of the first block, the first of the second, and the last of all have a file each.
const AT_EDGES: [usize; 3] = [50, 51, SESSIONS - 1];
/// This session has a memfd of every shape.
const SHAPES: usize = 1;
/// Sessions 4 to 9 have one file each, under the same token: what is confused shows in the content alone.
const ALIKE: std::ops::Range<usize> = 4..10;
/// No name is longer than this one.
const LONGEST: &str = "a-name-of-sixty-three-bytes-which-is-the-longest-that-there-is!";

const KIB: u64 = 1 << 10;

/// All sessions, in the order in which they are made and asked for.
pub(super) fn all() -> Vec<Sought> {
    (0..SESSIONS).map(session).collect()
}

fn session(number: usize) -> Sought {
    let seed = 1000 + number as u64;
    let (name, files) = match number {
        0 => ("pages".into(), pages()),
        SHAPES => ("shapes".into(), shapes()),
        2 => ("values".into(), values(0..3)),
        3 => {
            let mut files = values(5..6);
            files.push((6, Held::Page(seed)));
            ("mixed".into(), files)
        }
        _ if ALIKE.contains(&number) => (format!("alike-{number:02}"), vec![(0, Held::Page(seed))]),
        _ if number + 1 == SESSIONS => (LONGEST.into(), vec![(1, Held::Page(seed))]),
        _ if AT_EDGES.contains(&number) => {
            (format!("edge-{number:02}"), vec![(1, Held::Page(seed))])
        }
        _ => (format!("empty-{number:02}"), Vec::new()),
    };
    Sought { name, files }
}

fn pages() -> Vec<(u64, Held)> {
    (0..MANY_FILES)
        .map(|token| (token, Held::Page(100 + token)))
        .collect()
}

fn values(tokens: std::ops::Range<u64>) -> Vec<(u64, Held)> {
    tokens
        .map(|token| (token, Held::Probe(0x1111_2222_0000 + token)))
        .collect()
}

fn shapes() -> Vec<(u64, Held)> {
    let plain = |seed, size| MemfdSpec {
        content: Content::full(seed, size),
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    };
    let holes = MemfdSpec {
        content: Content {
            size: 96 * KIB + 5,
            seed: 11,
            ranges: vec![(0, 100), (40 * KIB, 8 * KIB), (80 * KIB + 7, 4 * KIB)],
        },
        ..plain(11, 0)
    };
    // F_SEAL_SHRINK | F_SEAL_GROW
    let sealed = MemfdSpec {
        seals: 0x2 | 0x4,
        position: 1234,
        ..plain(12, 40 * KIB)
    };
    // Its array of folios takes two pages.
    let large = plain(13, 1200 * KIB);
    let huge = MemfdSpec {
        pages: Pages::Huge,
        ..plain(14, 2048 * KIB)
    };
    let specs = [
        (0, plain(10, 0)),
        (u64::MAX, holes),
        (7, sealed),
        (8, large),
        (9, huge),
    ];
    specs.map(|(token, spec)| (token, Held::Memfd(spec))).into()
}

/// Whether a session differs from all before it so much that its fields get all hostile values.
pub(super) fn is_unlike_others(session: usize) -> bool {
    session <= ALIKE.start + 1 || session == ALIKE.end || AT_EDGES.contains(&session)
}

/// Whether everything that is known of the memfds of a session gets all hostile values: every shape, and a plain page.
pub(super) fn has_tried_memfds(session: usize) -> bool {
    session == SHAPES || session == ALIKE.start
}

/// Whether every address is made to point at a page of a session: a block of each kind, two of the sessions that are alike, and
/// all that belongs to one plain memfd.
pub(super) fn is_landmark(session: usize, page: &str) -> bool {
    if page.contains("/block-") {
        [0, 2, ALIKE.start, ALIKE.start + 1, AT_EDGES[1]].contains(&session)
    } else {
        session == ALIKE.start
    }
}
