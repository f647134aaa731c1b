// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kexec while processes on all processors create, preserve, close, fork, exit and finish: the next kernel has to find each session
//! as it was at some moment, and nothing may hang, warn or leak.

use luo_guest::proto::Op;

use crate::scenario::{
    Action, Flavor, Hop, Scenario,
    steps::{does, program},
};

/// As many as `churn` in the guest expects.
const WORKERS: u32 = 4;
/// How many kexecs in a row, unless more are asked for.
const KEXECS: u32 = 3;
/// How long the workers get before the kexec: less than a session takes to fill, more than it takes to begin.
const RUN_UP_MS: [u64; 4] = [80, 300, 20, 150];
/// What the sessions that are left to the next generation may hold, and the processors' caches.
const TOLERANCE_KIB: u64 = 16 << 10;

/// On ours only: C loses sessions whose files are not all fetched when they are closed, by design.
pub(super) fn kexecs(count: Option<u32>) -> Scenario {
    let count = count.unwrap_or(KEXECS);
    let mut actions = Vec::new();
    for (generation, run_up) in (0..count).zip(RUN_UP_MS.into_iter().cycle()) {
        for worker in 0..WORKERS {
            actions.push(does(Op::Spawn {
                argv: vec![
                    "/init".into(),
                    "churn".into(),
                    generation.to_string(),
                    worker.to_string(),
                ],
                log: format!("/tmp/churn-{worker}"),
            }));
        }
        actions.push(does(Op::Sleep { ms: run_up }));
        actions.push(Action::Kexec(Hop {
            insists: true,
            ..Hop::to(Flavor::Rust)
        }));
        actions.push(program(
            &["/init", "churn-check", &generation.to_string()],
            vec!["are whole"],
        ));
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
