// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memfds in use while they are preserved, and after they were retrieved, with our handler.

use luo_guest::{
    pattern::Content,
    proto::{Ending, MemfdSpec, MemfdUse, Op, Pages},
};

use super::{
    defects_probe::{probe, set},
    memfd_memory,
};
use crate::scenario::{
    Action, Expect, Flavor, Scenario,
    steps::{create, does, fails, fetch, finish, full, kexec, memfd, open, preserve, retrieve},
};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const PAGE: u64 = 4096;

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        let name = format!("memfd/{what} on {}", Flavor::Rust.name());
        Scenario::new(name, Flavor::Rust, actions)
    };
    vec![
        scenario("pages that appear after PRESERVE_FD", late_pages()),
        scenario("written until the machine leaves its kernel", counting()),
        scenario("a kexec that another file refuses", refused())
            .expecting("Freeze failed")
            .expecting("cannot be frozen"),
        scenario("huge pages", memfd_memory::huge()),
        scenario("memory that is swapped out", memfd_memory::swapped()),
        scenario("memory that cannot stay", memfd_memory::moved()),
        scenario(
            "a retrieval that failed, carried over",
            memfd_memory::carried(),
        ),
        scenario(
            "a process killed while it retrieves",
            memfd_memory::killed(),
        ),
    ]
}

/// A memfd of holes, but for these pages.
pub(super) fn sparse(seed: u64, size: u64, pages: &[u64]) -> MemfdSpec {
    let content = Content {
        size,
        seed,
        ranges: pages.iter().map(|&offset| (offset, PAGE)).collect(),
    };
    MemfdSpec {
        content,
        ..full(seed, size)
    }
}

/// Uses a memfd.
pub(super) fn uses(slot: &str, how: MemfdUse) -> Action {
    does(Op::UseMemfd {
        slot: slot.into(),
        how,
    })
}

/// The memfd is as it should be, and has so many bytes of memory: holes are holes.
pub(super) fn allocated(slot: &str, spec: &MemfdSpec, bytes: u64) -> Action {
    let op = Op::MemfdVerify {
        slot: slot.into(),
        spec: spec.clone(),
    };
    Action::Do(op, Expect::Allocated(bytes))
}

/// Writes the content's ranges.
pub(super) fn fills(slot: &str, content: &Content, pages: Pages, mapped: bool) -> Action {
    let content = content.clone();
    uses(
        slot,
        MemfdUse::Fill {
            content,
            pages,
            mapped,
        },
    )
}

/// What a program writes into holes of a preserved memfd must not be lost, whichever way it is written.
fn late_pages() -> Vec<Action> {
    let size = 16 * MIB;
    let before = sparse(1, size, &[0, 4 * MIB]);
    let part = |ranges| Content {
        size,
        seed: 1,
        ranges,
    };
    let written = [(PAGE, PAGE), (MIB, 300 * KIB), (size - PAGE, PAGE)];
    let mapped = [(2 * PAGE, PAGE), (4 * MIB + PAGE, MIB)];
    let mut ranges = before.content.ranges.clone();
    ranges.extend(written.iter().chain(&mapped));
    ranges.sort_unstable();
    let pages: u64 = ranges.iter().map(|(_, length)| length).sum();
    let after = MemfdSpec {
        content: part(ranges),
        ..before.clone()
    };
    vec![
        open(),
        create("s"),
        memfd("file", &before),
        preserve("s", 1, "file"),
        fills("file", &part(written.to_vec()), Pages::Small, false),
        fills("file", &part(mapped.to_vec()), Pages::Small, true),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        allocated("file", &after, pages),
        finish("s"),
    ]
}

/// A program goes on writing new pages until the processor is taken from it: what it has written, in whatever page, is there.
fn counting() -> Vec<Action> {
    let spec = sparse(0, 512 * MIB, &[]);
    let count = Op::InChild {
        ops: vec![Op::UseMemfd {
            slot: "file".into(),
            how: MemfdUse::CountUp,
        }],
        then: Ending::Stay,
        timeout_ms: 500,
    };
    vec![
        open(),
        create("s"),
        memfd("file", &spec),
        Action::Do(count, Expect::ChildHangs(vec![])),
        preserve("s", 1, "file"),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        Action::Do(
            Op::UseMemfd {
                slot: "file".into(),
                how: MemfdUse::CheckCount,
            },
            Expect::CountedAtLeast(1000),
        ),
        finish("s"),
    ]
}

/// A kexec was refused when the memfd was frozen already: it is in use again, holes too.
fn refused() -> Vec<Action> {
    const REFUSES: u64 = 222;
    let size = 8 * MIB;
    let part = |offset| Content {
        size,
        seed: 1,
        ranges: vec![(offset, MIB)],
    };
    let empty = sparse(1, size, &[]);
    let whole = MemfdSpec {
        content: Content {
            size,
            seed: 1,
            ranges: vec![(0, 5 * MIB)],
        },
        ..empty.clone()
    };
    let fill = |offset, mapped| fills("file", &part(offset), Pages::Small, mapped);
    let mut actions = vec![open(), create("s"), memfd("file", &empty)];
    actions.extend(probe("refuses", REFUSES));
    actions.extend([
        fill(0, false),
        preserve("s", 1, "file"),
        preserve("s", 2, "refuses"),
        fill(MIB, false),
        set("fail_freeze", &REFUSES.to_string()),
        fails(kexec(Flavor::Rust), REFUSES as i32),
        fill(2 * MIB, false),
        fill(3 * MIB, true),
        fails(kexec(Flavor::Rust), REFUSES as i32),
        fill(4 * MIB, true),
        set("fail_freeze", "0"),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        allocated("file", &whole, 5 * MIB),
        finish("s"),
    ]);
    actions
}
