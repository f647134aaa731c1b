// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kexec while processes on all processors create, preserve, close, fork, exit and finish: the next kernel has to find each session
//! as it was at some moment, and nothing may hang, warn or leak.

use luo_guest::proto::Op;

use super::defects_probe::{counted, holds, probe, set, write};
use crate::scenario::{
    Action, Flavor, Hop, Scenario,
    steps::{
        close_device, create, does, fails, fetch, finish, full, memfd, open, preserve, program,
        retrieve, verify,
    },
};

/// As many as `churn` in the guest expects.
const WORKERS: u32 = 4;
/// How many kexecs in a row, unless more are asked for.
const KEXECS: u32 = 3;
/// How long the workers get before the kexec: less than a session takes to fill, more than it takes to begin.
const RUN_UP_MS: [u64; 4] = [80, 300, 20, 150];
/// What the sessions that are left to the next generation may hold, and the processors' caches.
const TOLERANCE_KIB: u64 = 16 << 10;

/// The errno of the test handler, which refuses to freeze the file that holds it.
const REFUSAL: u8 = libc::EDOM as u8;
/// For each hand-over that fails, how many files of the test handler have been frozen by then, and unfrozen again: one in the
/// session of that failure, and two in that of each failure before.
const FROZEN: [&str; 4] = ["1", "4", "9", "16"];

/// On ours only: C loses sessions whose files are not all fetched when they are closed, by design.
pub(super) fn kexecs(count: Option<u32>) -> Scenario {
    let count = count.unwrap_or(KEXECS);
    let mut actions = Vec::new();
    for (generation, run_up) in (0..count).zip(RUN_UP_MS.into_iter().cycle()) {
        actions.extend(workers(generation));
        actions.push(does(Op::Sleep { ms: run_up }));
        actions.push(Action::Kexec(Hop {
            insists: true,
            ..Hop::to(Flavor::Rust)
        }));
        actions.push(check(generation));
        if generation == 0 {
            actions.push(Action::MarkMemory("first"));
        }
    }
    actions.push(Action::SameMemory {
        mark: "first",
        tolerance_kib: TOLERANCE_KIB,
    });
    Scenario::new(
        format!("load/{count} kexecs of rust under load"),
        Flavor::Rust,
        actions,
    )
    .expecting("kexec refused: session")
}

/// Kexec that a file refuses again and again while sessions before and after it are frozen, unfrozen and changed: each time
/// `reboot(2)` gives that file's errno, and everything is as it was. Then it goes through, with all that the workers have done.
pub(super) fn failing_freezes() -> Scenario {
    let hop = Hop::to(Flavor::Rust);
    let failures = || (0..).zip(FROZEN);
    let name = |failure: u64| format!("s{failure}");
    let mut actions = workers(0);
    for ((failure, frozen), run_up) in failures().zip(RUN_UP_MS) {
        actions.push(does(Op::Sleep { ms: run_up }));
        actions.extend(session_that_refuses(&name(failure), failure));
        actions.extend([
            set("fail_freeze", &REFUSAL.to_string()),
            Action::KexecRefused(hop, REFUSAL.into()),
            counted("frozen", frozen),
            counted("unfrozen", frozen),
            // The session has what it had, and takes more.
            fails(preserve(&name(failure), 1, "memfd"), libc::EEXIST),
            preserve(&name(failure), 4, "another"),
            write("refusing", relented(failure)),
        ]);
    }
    actions.extend([Action::Kexec(hop), check(0), open()]);
    for (failure, _) in failures() {
        let session = name(failure);
        actions.extend([
            retrieve(&session),
            fetch(&session, 1, "memfd"),
            verify("memfd", &full(failure, 70_000)),
            fetch(&session, 2, "willing"),
            holds("willing", failure),
            fetch(&session, 3, "refusing"),
            holds("refusing", relented(failure)),
            fetch(&session, 4, "another"),
            verify("another", &full(failure + 100, 4096)),
            finish(&session),
        ]);
    }
    Scenario::new(
        "load/freezes that fail on rust under load",
        Flavor::Rust,
        actions,
    )
    .expecting("cannot be frozen")
}

/// What the file holds that has refused, afterwards.
fn relented(failure: u64) -> u64 {
    1000 + failure
}

/// A session whose last file refuses to be frozen.
fn session_that_refuses(name: &str, number: u64) -> Vec<Action> {
    let slot = || "device".into();
    let mut actions = vec![
        does(Op::AwaitDevice { slot: slot() }),
        create(name),
        close_device(),
        memfd("memfd", &full(number, 70_000)),
        memfd("another", &full(number + 100, 4096)),
        preserve(name, 1, "memfd"),
    ];
    actions.extend(probe("willing", number));
    actions.extend(probe("refusing", REFUSAL.into()));
    actions.extend([preserve(name, 2, "willing"), preserve(name, 3, "refusing")]);
    actions
}

/// Starts the workers of a generation.
fn workers(generation: u32) -> Vec<Action> {
    let worker = |worker: u32| {
        does(Op::Spawn {
            argv: vec![
                "/init".into(),
                "churn".into(),
                generation.to_string(),
                worker.to_string(),
            ],
            log: format!("/tmp/churn-{worker}"),
        })
    };
    (0..WORKERS).map(worker).collect()
}

/// What a generation has left is consistent.
fn check(generation: u32) -> Action {
    program(
        &["/init", "churn-check", &generation.to_string()],
        vec!["are whole"],
    )
}
