// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memfds of huge pages, in swap, in memory that cannot stay, and given up half-way.

use luo_guest::{
    pattern::Content,
    proto::{MemfdSpec, MemfdUse, Op, Pages},
};

use super::{
    group,
    memfd::{KIB, MIB, PAGE, allocated, fills, uses},
};
use crate::scenario::{
    Action, Expect, Flavor,
    steps::{
        close, create, does, fetch, finish, full, kexec, memfd, open, preserve, program, retrieve,
        verify,
    },
};

const HUGE: u64 = 2 * MIB;

/// So much of shared memory is huge pages.
fn huge_pages(text: &'static str) -> Action {
    let path = "/proc/meminfo".into();
    Action::Do(Op::ReadFile { path }, Expect::Text(vec![text]))
}

/// Huge pages stay huge, beside small ones, and the file can be cut anywhere afterwards.
pub(super) fn huge() -> Vec<Action> {
    let size = 4 * HUGE;
    let first_half = MemfdSpec {
        content: Content {
            size,
            seed: 1,
            ranges: vec![(0, 2 * HUGE)],
        },
        pages: Pages::Huge,
        ..full(1, size)
    };
    let second_half = Content {
        size,
        seed: 1,
        ranges: vec![(2 * HUGE, 2 * HUGE)],
    };
    let whole = full(1, size);
    let small = full(2, 8 * MIB);
    // Its last huge page goes beyond its end.
    let odd = MemfdSpec {
        pages: Pages::Huge,
        ..full(3, HUGE + 5 * PAGE + 7)
    };
    let mut odd_longer = odd.clone();
    odd_longer.content.size = 2 * HUGE + PAGE;
    let cut = |spec: &MemfdSpec, ranges| MemfdSpec {
        content: Content {
            ranges,
            ..spec.content.clone()
        },
        ..spec.clone()
    };
    // Inside a huge page, over the border of two, and a small page.
    let holes = [
        (PAGE, PAGE),
        (HUGE - 3 * PAGE, 5 * PAGE),
        (3 * HUGE, 7 * PAGE),
    ];
    let ranges = vec![
        (0, PAGE),
        (2 * PAGE, HUGE - 5 * PAGE),
        (HUGE + 2 * PAGE, 2 * HUGE - 2 * PAGE),
        (3 * HUGE + 7 * PAGE, HUGE - 7 * PAGE),
    ];
    let punched = cut(&whole, ranges);
    let small_punched = cut(&small, vec![(0, MIB), (MIB + PAGE, 7 * MIB - PAGE)]);
    let mut shorter = punched.clone();
    shorter.content.size = HUGE + 100 * PAGE;
    shorter.content.ranges = vec![
        (0, PAGE),
        (2 * PAGE, HUGE - 5 * PAGE),
        (HUGE + 2 * PAGE, 98 * PAGE),
    ];
    let mut actions = vec![
        open(),
        create("s"),
        memfd("half", &first_half),
        fills("half", &second_half, Pages::Small, false),
        memfd("small", &small),
        memfd("odd", &odd),
        verify("half", &whole),
        huge_pages("ShmemHugePages:     8192 kB\n"),
        preserve("s", 1, "half"),
        preserve("s", 2, "small"),
        preserve("s", 3, "odd"),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "half"),
        fetch("s", 2, "small"),
        fetch("s", 3, "odd"),
        allocated("half", &whole, size),
        allocated("small", &small, 8 * MIB),
        allocated("odd", &odd, 2 * HUGE),
        finish("s"),
        close("s"),
    ];
    let punch = |slot, (offset, length)| uses(slot, MemfdUse::Punch { offset, length });
    actions.extend(holes.map(|hole| punch("half", hole)));
    actions.extend([
        punch("small", (MIB, PAGE)),
        allocated("half", &punched, size - 13 * PAGE),
        allocated("small", &small_punched, 8 * MIB - PAGE),
        uses(
            "half",
            MemfdUse::Resize {
                size: HUGE + 100 * PAGE,
            },
        ),
        allocated("half", &shorter, HUGE + 94 * PAGE),
        uses(
            "odd",
            MemfdUse::Resize {
                size: 2 * HUGE + PAGE,
            },
        ),
        verify("odd", &odd_longer),
        close("half"),
        close("small"),
        close("odd"),
        huge_pages("ShmemHugePages:        0 kB\n"),
    ]);
    actions
}

/// What is in swap is brought in: pages that were there at `PRESERVE_FD`, and pages that came there later.
pub(super) fn swapped() -> Vec<Action> {
    let size = 40 * MIB;
    let part = |from, length| Content {
        size,
        seed: 1,
        ranges: vec![(from, length)],
    };
    let most = MemfdSpec {
        content: part(0, 32 * MIB),
        ..full(1, size)
    };
    let create_file = Op::MemfdCreate {
        slot: "file".into(),
        spec: most,
    };
    let preserve_file = Op::Preserve {
        session: "s".into(),
        token: 1,
        file: "file".into(),
    };
    let fill_rest = Op::UseMemfd {
        slot: "file".into(),
        how: MemfdUse::Fill {
            content: part(32 * MIB, 8 * MIB),
            pages: Pages::Small,
            mapped: false,
        },
    };
    let in_swap = |least| {
        let file = group::get("memory.swap.current");
        (file, Expect::Number(least..=size))
    };
    let succeeds = |op| (op, Expect::Success);
    let whole = full(1, size);
    let mut actions = vec![
        program(&["mkswap", "/dev/ram0"], vec![]),
        program(&["swapon", "/dev/ram0"], vec![]),
        open(),
        create("s"),
    ];
    actions.extend(group::make());
    actions.extend([
        group::inside(vec![
            succeeds(create_file),
            succeeds(group::set("memory.reclaim", "20M")),
            in_swap(16 * MIB),
            succeeds(preserve_file),
            succeeds(fill_rest),
            succeeds(group::set("memory.reclaim", "4M")),
            in_swap(2 * MIB),
        ]),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        allocated("file", &whole, size),
        finish("s"),
    ]);
    actions
}

/// Leaves a little more memory outside of what the kernel keeps for the next one than inside: it begins to take that, and
/// there is room to move pages out of it.
const BALLAST: &str = r#"
    /^MemFree/ { free = $2 }
    /^CmaFree/ { kept = $2 }
    END {
        half = int((free - 2 * kept - 40960) / 2) "k"
        exit system("fallocate -l " half " /tmp/ballast && fallocate -l " half " /run/ballast")
    }
"#;

/// Pages that lie where the next kernel boots are moved: those that were there at `PRESERVE_FD`, and those that came later.
pub(super) fn moved() -> Vec<Action> {
    let size = 96 * MIB;
    let part = |from, length| Content {
        size,
        seed: 1,
        ranges: vec![(from, length)],
    };
    let most = MemfdSpec {
        content: part(0, 64 * MIB),
        ..full(1, size)
    };
    vec![
        program(&["awk", BALLAST, "/proc/meminfo"], vec![]),
        open(),
        create("s"),
        memfd("file", &most),
        preserve("s", 1, "file"),
        program(
            &["awk", "/^pgmigrate_success/ { exit !$2 }", "/proc/vmstat"],
            vec![],
        ),
        fills("file", &part(64 * MIB, 32 * MIB), Pages::Small, true),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        allocated("file", &full(1, size), size),
        finish("s"),
    ]
}

/// What could not be retrieved for lack of memory, and what was given up half-way, goes on to the next kernel.
pub(super) fn carried() -> Vec<Action> {
    let huge = MemfdSpec {
        pages: Pages::Huge,
        position: 77,
        ..full(1, 8 * HUGE)
    };
    let scattered = MemfdSpec {
        pages: Pages::Scattered,
        ..full(2, 32 * MIB)
    };
    let take = |token| Op::Retrieve {
        session: "s".into(),
        token,
        file: "file".into(),
    };
    let mut actions = vec![
        open(),
        create("s"),
        memfd("huge", &huge),
        memfd("scattered", &scattered),
        preserve("s", 1, "huge"),
        preserve("s", 2, "scattered"),
        kexec(Flavor::Rust),
    ];
    actions.extend(group::make());
    actions.extend([
        does(group::set("memory.max", "8M")),
        open(),
        retrieve("s"),
        group::inside(vec![
            (take(1), Expect::Errno(libc::ENOMEM)),
            (take(2), Expect::Errno(libc::ENOMEM)),
        ]),
        close("s"),
        close("device"),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        does(Op::KilledDuring {
            op: Box::new(take(2)),
            after_us: 1000,
        }),
        fetch("s", 1, "huge"),
        fetch("s", 2, "scattered"),
        verify("huge", &huge),
        verify("scattered", &scattered),
        huge_pages("ShmemHugePages:    16384 kB\n"),
        finish("s"),
    ]);
    actions
}

/// A process killed while it retrieves leaves the file where it was.
pub(super) fn killed() -> Vec<Action> {
    let spec = MemfdSpec {
        pages: Pages::Scattered,
        ..full(1, 128 * MIB)
    };
    let killed = |after_us| {
        does(Op::KilledDuring {
            op: Box::new(Op::Retrieve {
                session: "s".into(),
                token: 1,
                file: "file".into(),
            }),
            after_us,
        })
    };
    let waits = Action::Do(
        Op::FdInfo { slot: "s".into() },
        Expect::Text(vec!["luo-file:\t0x1 memfd-v2 waiting"]),
    );
    vec![
        open(),
        create("s"),
        memfd("file", &spec),
        preserve("s", 1, "file"),
        kexec(Flavor::Rust),
        open(),
        retrieve("s"),
        Action::MarkMemory("before"),
        killed(1000),
        waits,
        Action::SameMemory {
            mark: "before",
            tolerance_kib: 4 * KIB,
        },
        // Later, when it may be putting pages into the file.
        killed(10_000),
        killed(20_000),
        fetch("s", 1, "file"),
        verify("file", &spec),
        finish("s"),
        close("s"),
        Action::MarkMemory("with it"),
        close("file"),
        memfd("file", &spec),
        Action::SameMemory {
            mark: "with it",
            tolerance_kib: 4 * KIB,
        },
    ]
}
