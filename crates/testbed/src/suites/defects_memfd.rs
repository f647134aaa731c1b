// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What C's handler does to memfds.

use luo_guest::{
    pattern::Content,
    proto::{Ending, MemfdSpec, MemfdUse, Op, Pages},
};

use super::{
    group,
    memfd::{KIB, MIB, PAGE, allocated, sparse, uses},
};
use crate::scenario::{
    Action, Expect, Flavor, Scenario,
    steps::{
        close, close_device, create, does, fails, fetch, finish, full, judge, kexec, memfd, open,
        preserve, retrieve, verify,
    },
};

const TIB: u64 = 1 << 40;
/// Charges that processors keep at hand, and what a process needs.
const UNUSED_CHARGES: u64 = MIB;
/// What the marks of memory may differ by, for caches of the allocators.
const TOLERANCE_KIB: u64 = 2 * KIB;

const MFD_NOEXEC_SEAL: u32 = 0x8;
const SEAL_SEAL: u32 = 0x1;
const SEAL_SHRINK: u32 = 0x2;
const SEAL_GROW: u32 = 0x4;
const SEAL_WRITE: u32 = 0x8;
const SEAL_FUTURE_WRITE: u32 = 0x10;
const SEAL_EXEC: u32 = 0x20;

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        Scenario::new(
            format!("defects/{what} on {}", flavor.name()),
            flavor,
            actions,
        )
    };
    vec![
        scenario("a memfd larger than the group may have", limited(flavor)),
        scenario("memfds that may not be executed", not_executable(flavor)),
        scenario("seals added to a preserved memfd", late_seals(flavor)),
        scenario("a memfd of terabytes of holes", terabytes(flavor)),
        scenario("a memfd with holes", holes()),
        scenario("a process killed while it preserves", killed(flavor)),
    ]
}

fn fetch_op(token: u64) -> Op {
    Op::Retrieve {
        session: "s".into(),
        token,
        file: "file".into(),
    }
}

/// The group is charged with so many bytes.
fn charged(from: u64, to: u64) -> Action {
    Action::Do(group::get("memory.current"), Expect::Number(from..=to))
}

/// A service under a limit of memory retrieved a memfd larger than that: it was killed, and the contents were lost.
fn limited(flavor: Flavor) -> Vec<Action> {
    const SIZE: u64 = 16 * MIB;
    let limit = |text| does(group::set("memory.max", text));
    let (one, two) = (full(1, SIZE), full(2, SIZE));
    let verify_op = |spec: &MemfdSpec| Op::MemfdVerify {
        slot: "file".into(),
        spec: spec.clone(),
    };
    let attempt = |token| group::inside(vec![(fetch_op(token), Expect::Errno(libc::ENOMEM))]);
    let same = || Action::SameMemory {
        mark: "before",
        tolerance_kib: TOLERANCE_KIB,
    };
    let mut actions = vec![
        open(),
        create("s"),
        memfd("one", &one),
        memfd("two", &two),
        preserve("s", 1, "one"),
        preserve("s", 2, "two"),
        close_device(),
        kexec(flavor),
    ];
    actions.extend(group::make());
    actions.extend([
        limit("8M"),
        open(),
        retrieve("s"),
        Action::MarkMemory("before"),
        judge(attempt(1), "the child did 1 of 2 operations"),
        charged(0, UNUSED_CHARGES),
        same(),
        attempt(2),
        attempt(1),
        charged(0, UNUSED_CHARGES),
        same(),
        limit("max"),
        group::inside(vec![
            (fetch_op(1), Expect::Success),
            (verify_op(&one), Expect::Success),
        ]),
        charged(SIZE, SIZE + UNUSED_CHARGES),
        // A process outside the group.
        fetch("s", 2, "two"),
        verify("two", &two),
        charged(SIZE, SIZE + UNUSED_CHARGES),
        fetch("s", 1, "one"),
        verify("one", &one),
        finish("s"),
        close("s"),
        // As much memory as the files have is given back with them.
        Action::MarkMemory("with both"),
        close("one"),
        close("two"),
        charged(0, UNUSED_CHARGES),
        memfd("one", &one),
        memfd("two", &two),
        Action::SameMemory {
            mark: "with both",
            tolerance_kib: TOLERANCE_KIB,
        },
    ]);
    actions
}

/// A memfd of `MFD_NOEXEC_SEAL` came back as a file that may be executed, and may not be written.
fn not_executable(flavor: Flavor) -> Vec<Action> {
    let spec = |seed, flags, seals| MemfdSpec {
        flags,
        seals,
        ..full(seed, 64 * KIB)
    };
    let implied = SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE | SEAL_EXEC;
    let plain = spec(1, MFD_NOEXEC_SEAL, SEAL_EXEC);
    let executable = spec(2, 0, implied);
    let all = spec(3, MFD_NOEXEC_SEAL, SEAL_SEAL | implied);
    // Who may not write at all may not write in future.
    let all_again = spec(
        3,
        MFD_NOEXEC_SEAL,
        (SEAL_SEAL | implied) & !SEAL_FUTURE_WRITE,
    );
    let longer = MemfdSpec {
        content: Content::full(4, 80 * KIB),
        ..plain.clone()
    };
    let execute = |slot: &str, errno| {
        let ops = vec![Op::UseMemfd {
            slot: slot.into(),
            how: MemfdUse::Execute,
        }];
        let op = Op::InChild {
            ops,
            then: Ending::Exit,
            timeout_ms: 10_000,
        };
        Action::Do(op, Expect::Child(vec![Expect::Errno(errno)]))
    };
    let mut actions = vec![
        open(),
        create("s"),
        memfd("plain", &plain),
        memfd("executable", &executable),
        memfd("all", &all),
        execute("plain", libc::EACCES),
        execute("executable", libc::ENOEXEC),
        preserve("s", 1, "plain"),
        preserve("s", 2, "executable"),
        preserve("s", 3, "all"),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "plain"),
        judge(verify("plain", &plain), "mode of the memfd"),
        fetch("s", 2, "executable"),
        fetch("s", 3, "all"),
        verify("executable", &executable),
        verify("all", &all_again),
        execute("plain", libc::EACCES),
        execute("executable", libc::ENOEXEC),
        execute("all", libc::EACCES),
    ];
    let fill = |content: &Content| MemfdUse::Fill {
        content: content.clone(),
        pages: Pages::Small,
        mapped: false,
    };
    actions.extend([
        uses("plain", MemfdUse::Resize { size: 80 * KIB }),
        uses("plain", fill(&longer.content)),
        verify("plain", &longer),
        fails(uses("all", fill(&all.content)), libc::EPERM),
        fails(uses("executable", fill(&all.content)), libc::EPERM),
    ]);
    actions
}

/// Seals that were added to a preserved memfd were not there any more in the next kernel.
fn late_seals(flavor: Flavor) -> Vec<Action> {
    let seal = |slot: &str, seals| {
        does(Op::MemfdSeal {
            slot: slot.into(),
            seals,
        })
    };
    let seals = SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_FUTURE_WRITE;
    let sealed = MemfdSpec {
        seals,
        ..full(1, 64 * KIB)
    };
    let not_executable = MemfdSpec {
        flags: MFD_NOEXEC_SEAL,
        seals: SEAL_EXEC,
        ..full(2, 64 * KIB)
    };
    let not_executable_sealed = MemfdSpec {
        seals: SEAL_EXEC | seals,
        ..not_executable.clone()
    };
    vec![
        open(),
        create("s"),
        memfd("one", &full(1, 64 * KIB)),
        memfd("two", &not_executable),
        preserve("s", 1, "one"),
        preserve("s", 2, "two"),
        // It would have to be write-sealed too.
        fails(seal("one", SEAL_EXEC), libc::EBUSY),
        fails(seal("one", SEAL_WRITE), libc::EBUSY),
        seal("one", SEAL_SHRINK | SEAL_GROW),
        seal("one", SEAL_FUTURE_WRITE),
        seal("one", SEAL_SEAL),
        seal("two", seals),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "one"),
        judge(verify("one", &sealed), "seals of the memfd"),
        fetch("s", 2, "two"),
        verify("two", &not_executable_sealed),
        finish("s"),
    ]
}

/// A memfd of a few pages and terabytes of holes could not be preserved.
fn terabytes(flavor: Flavor) -> Vec<Action> {
    const LARGEST: u64 = i64::MAX as u64;
    let spread = sparse(1, 2 * TIB, &[0, 7 * PAGE, TIB - PAGE, TIB, 2 * TIB - PAGE]);
    // The last page of the longest file that there can be.
    let mut longest = sparse(2, LARGEST, &[0]);
    longest.content.ranges.push((LARGEST - 100, 100));
    let preserve_op = |token, file: &str| {
        Box::new(Op::Preserve {
            session: "s".into(),
            token,
            file: file.into(),
        })
    };
    let small = |op| Action::Do(Op::Watched(op), Expect::TakesKib(512));
    vec![
        open(),
        create("s"),
        memfd("spread", &spread),
        memfd("longest", &longest),
        judge(small(preserve_op(1, "spread")), "errno 12:"),
        small(preserve_op(2, "longest")),
        allocated("spread", &spread, 5 * PAGE),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "spread"),
        fetch("s", 2, "longest"),
        allocated("spread", &spread, 5 * PAGE),
        allocated("longest", &longest, 2 * PAGE),
        finish("s"),
    ]
}

/// Preserving a memfd with holes took as much memory as if it had none.
fn holes() -> Vec<Action> {
    let spec = sparse(1, 256 * MIB, &[0, 100 * MIB, 256 * MIB - PAGE]);
    let op = Op::Preserve {
        session: "s".into(),
        token: 1,
        file: "file".into(),
    };
    vec![
        open(),
        create("s"),
        memfd("file", &spec),
        judge(
            Action::Do(Op::Watched(Box::new(op)), Expect::TakesKib(512)),
            "KiB of memory",
        ),
        allocated("file", &spec, 3 * PAGE),
    ]
}

/// A process that was to be killed went on preserving, to the end.
fn killed(flavor: Flavor) -> Vec<Action> {
    let spec = MemfdSpec {
        pages: Pages::Scattered,
        ..full(1, 128 * MIB)
    };
    let op = Op::Preserve {
        session: "s".into(),
        token: 1,
        file: "file".into(),
    };
    let undo = vec![
        Op::Close { slot: "s".into() },
        Op::CreateSession {
            device: "device".into(),
            name: "s".into(),
            slot: "s".into(),
        },
    ];
    let repeated = does(Op::RepeatedAfterKill {
        op: Box::new(op),
        undo,
        after_us: 1000,
    });
    vec![
        open(),
        create("s"),
        memfd("file", &spec),
        judge(repeated, "errno 17:"),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        verify("file", &spec),
        finish("s"),
    ]
}
