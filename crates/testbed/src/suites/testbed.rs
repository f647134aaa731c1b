// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the test bed has to notice. Each scenario makes one kind of trouble and passes when that is what it fails with.

use luo_guest::proto::Op;

use crate::scenario::{
    Action, Flavor, Hop, Scenario,
    steps::{does, full, memfd},
};

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |what: &str, actions, symptom| {
        Scenario::new(format!("testbed/{what} is noticed"), flavor, actions).failing_with(symptom)
    };
    vec![
        scenario(
            "a warning of the kernel",
            vec![logs("<4>WARNING: CPU: 0 PID: 1 at mm/nowhere.c:1")],
            "trouble in the kernel's log",
        ),
        scenario(
            "a warning before a kexec",
            vec![
                logs("<4>WARNING: possible circular locking dependency detected"),
                Action::Kexec(Hop::to(flavor)),
            ],
            ": trouble in the kernel's log",
        ),
        scenario(
            "a complaint of live update",
            vec![logs("<4>luo_session: something is wrong")],
            "live update complains",
        ),
        scenario(
            "memory that is gone",
            vec![
                Action::MarkMemory("before"),
                memfd("kept", &full(1, 256 << 20)),
                Action::SameMemory {
                    mark: "before",
                    tolerance_kib: 4096,
                },
            ],
            "KiB of memory are lost",
        ),
        scenario(
            "a kernel that does not boot",
            vec![goes(flavor, "rdinit=/nowhere", 60)],
            "the kernel panicked during kexec",
        ),
        scenario(
            "a kernel that does not answer",
            // Its init is not the agent, and does nothing.
            vec![goes(flavor, "rdinit=/bin/busybox -- sleep 1000", 5)],
            "no answer within",
        ),
    ]
}

/// Has the kernel log a line.
fn logs(line: &str) -> Action {
    does(Op::WriteFile {
        path: "/dev/kmsg".into(),
        // A line without an end is not logged before the next one.
        bytes: format!("{line}\n").into(),
    })
}

fn goes(into: Flavor, cmdline: &'static str, timeout_s: u64) -> Action {
    Action::Kexec(Hop {
        cmdline,
        timeout_s,
        ..Hop::to(into)
    })
}
