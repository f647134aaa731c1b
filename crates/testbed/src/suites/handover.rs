// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From each implementation to each: sessions, files of every kind, names, order, FLBs, and no memory lost on the way.

use luo_guest::{
    pattern::Content,
    proto::{Bulk, MemfdSpec, Op, Pages},
};

use super::upstream::{FLB_FINISHED, FLB_FOUND, printed_by_each};
use crate::scenario::{
    Action, Flavor, Scenario,
    steps::{
        self, close, close_device, create, does, fails, fetch, finish, full, kexec, memfd, named,
        open, preserve, retrieve, verify,
    },
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// What counters and caches of the processors may hold back; the files of a hop have more than 70 MiB.
const TOLERANCE_KIB: u64 = 3 * KIB;
/// No name is longer than this one.
const LONGEST: &str = "a-name-of-sixty-three-bytes-which-is-the-longest-that-there-is!";

pub(super) fn all(flavors: &[Flavor]) -> Vec<Scenario> {
    use Flavor::{C, Rust};
    let routes: [&[Flavor]; 5] = [
        &[C, C],
        &[C, Rust],
        &[Rust, C],
        &[Rust, Rust],
        &[C, Rust, C, Rust],
    ];
    let possible = routes
        .into_iter()
        .filter(|route| route.iter().all(|flavor| flavors.contains(flavor)));
    possible
        .flat_map(|route| [along(route), in_numbers(route)])
        .collect()
}

/// The same files go all the way; each kernel on the way verifies and preserves them again.
fn along(route: &[Flavor]) -> Scenario {
    let names: Vec<_> = route.iter().map(|flavor| flavor.name()).collect();
    let mut actions = Vec::new();
    for (slot, spec) in files() {
        actions.push(memfd(slot, &spec));
    }
    for (hop, &next) in route[1..].iter().enumerate() {
        actions.extend(preserve_all());
        actions.push(kexec(next));
        actions.extend(retrieve_all());
        if hop + 2 == route.len() {
            actions.extend(files().iter().map(|(slot, _)| close(slot)));
        }
    }
    actions.extend(memory_stays(*route.last().unwrap_or(&route[0])));
    Scenario::new(
        format!("handover/{}", names.join(" to ")),
        route[0],
        actions,
    )
}

fn files() -> [(&'static str, MemfdSpec); 6] {
    let small = |content| MemfdSpec {
        content,
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    };
    let holes = Content {
        size: 3 * MIB + 5,
        seed: 3,
        ranges: vec![(0, 100), (MIB, 8 * KIB), (2 * MIB + 7, 4 * KIB)],
    };
    let huge = MemfdSpec {
        content: Content::full(5, 4 * MIB),
        pages: Pages::Huge,
        flags: 0,
        seals: 0,
        position: 0,
    };
    // F_SEAL_SHRINK | F_SEAL_GROW
    let sealed = MemfdSpec {
        seals: 0x2 | 0x4,
        position: 1234,
        ..full(6, 40 * KIB)
    };
    [
        ("empty", small(Content::full(1, 0))),
        ("page", full(2, 4 * KIB)),
        ("holes", small(holes)),
        ("large", full(4, 64 * MIB)),
        ("huge", huge),
        ("sealed", sealed),
    ]
}

fn preserve_all() -> Vec<Action> {
    vec![
        open(),
        create("first"),
        create("nothing in it"),
        create(LONGEST),
        fails(create("first"), libc::EEXIST),
        preserve("first", 7, "large"),
        preserve("first", 0, "empty"),
        preserve("first", u64::MAX, "page"),
        preserve(LONGEST, 0, "holes"),
        preserve(LONGEST, 1, "huge"),
        preserve(LONGEST, 2, "sealed"),
        fails(preserve("first", 7, "page"), libc::EEXIST),
        fails(preserve("nothing in it", 1, "page"), libc::EBUSY),
        close_device(),
    ]
}

/// As many sessions, and as many files in one, as take several blocks to hand over; some are gone before they go.
fn in_numbers(route: &[Flavor]) -> Scenario {
    let names: Vec<_> = route.iter().map(|flavor| flavor.name()).collect();
    let group = |name: &str| name.to_owned();
    let create = |first, count, name| Bulk::Create {
        device: group("device"),
        prefix: "one-of-many-".into(),
        first,
        count,
        group: group(name),
    };
    let retrieve = |first, count, name| Bulk::Retrieve {
        device: group("device"),
        prefix: "one-of-many-".into(),
        first,
        count,
        group: group(name),
    };
    let bulk = |bulk| does(Op::Bulk(bulk));
    let mut actions = Vec::new();
    for &next in &route[1..] {
        actions.extend([
            open(),
            bulk(create(0, 400, "kept")),
            bulk(create(400, 200, "closed")),
        ]);
        actions.push(steps::create("files"));
        actions.extend([bulk(Bulk::Memfds {
            count: 300,
            group: group("made"),
        })]);
        actions.push(bulk(Bulk::PreserveFds {
            session: group("files"),
            group: group("made"),
        }));
        actions.push(bulk(create(600, 300, "late")));
        actions.extend([
            bulk(Bulk::Close {
                group: group("closed"),
            }),
            close_device(),
            kexec(next),
            open(),
        ]);
        actions.push(bulk(retrieve(600, 300, "late")));
        actions.push(bulk(retrieve(0, 400, "kept")));
        actions.push(fails(steps::retrieve("one-of-many-000400"), libc::ENOENT));
        actions.push(steps::retrieve("files"));
        actions.push(bulk(Bulk::RetrieveFds {
            session: group("files"),
            count: 300,
            group: group("made"),
        }));
        actions.push(bulk(Bulk::VerifyMemfds {
            group: group("made"),
        }));
        actions.extend([finish("files"), close("files"), close_device()]);
        for name in ["late", "kept"] {
            actions.extend([
                bulk(Bulk::Finish { group: group(name) }),
                bulk(Bulk::Close { group: group(name) }),
            ]);
        }
    }
    Scenario::new(
        format!("handover/in numbers, {}", names.join(" to ")),
        route[0],
        actions,
    )
}

/// In another order than they were preserved in.
fn retrieve_all() -> Vec<Action> {
    let mut actions = printed_by_each(&FLB_FOUND);
    actions.extend([
        open(),
        retrieve(LONGEST),
        retrieve("nothing in it"),
        retrieve("first"),
        fails(retrieve("never created"), libc::ENOENT),
        named(LONGEST, LONGEST),
        named("first", "first"),
        fetch("first", u64::MAX, "page"),
        fetch("first", 0, "empty"),
        fetch("first", 7, "large"),
        fails(fetch("first", 1, "none"), libc::ENOENT),
        fails(fetch("nothing in it", 0, "none"), libc::ENOENT),
        fetch(LONGEST, 2, "sealed"),
        fetch(LONGEST, 1, "huge"),
        fetch(LONGEST, 0, "holes"),
    ]);
    actions.extend(files().iter().map(|(slot, spec)| verify(slot, spec)));
    actions.push(Action::NotPrinted(FLB_FINISHED[0]));
    for session in ["first", "nothing in it", LONGEST] {
        actions.extend([finish(session), close(session)]);
    }
    actions.extend(printed_by_each(&FLB_FINISHED));
    actions.push(close_device());
    actions
}

/// A kernel that has carried everything ends up with as much free memory as one that has carried nothing.
fn memory_stays(flavor: Flavor) -> Vec<Action> {
    let settle = || does(Op::Sleep { ms: 300 });
    let mut actions = vec![kexec(flavor)];
    // The same files, used and closed, leave the allocator's caches in the same state.
    actions.extend(files().iter().map(|(slot, spec)| memfd(slot, spec)));
    actions.extend(files().iter().map(|(slot, _)| close(slot)));
    actions.extend([
        settle(),
        Action::MarkMemory("a kernel that carries nothing"),
    ]);
    actions.extend(files().iter().map(|(slot, spec)| memfd(slot, spec)));
    actions.extend(preserve_all());
    // Closing an outgoing session gives everything back in the kernel that preserved it.
    actions.extend(["first", "nothing in it", LONGEST].map(close));
    actions.extend(preserve_all());
    actions.push(kexec(flavor));
    actions.extend(retrieve_all());
    actions.extend(files().iter().map(|(slot, _)| close(slot)));
    actions.extend([
        settle(),
        Action::SameMemory {
            mark: "a kernel that carries nothing",
            tolerance_kib: TOLERANCE_KIB,
        },
    ]);
    actions
}
