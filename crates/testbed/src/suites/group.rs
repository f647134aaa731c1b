// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Processes in a group of their own, whose memory is counted and can be limited.

use luo_guest::proto::{Ending, Op};

use crate::scenario::{
    Action, Expect,
    steps::{does, program},
};

const ROOT: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/small";
/// Longer than anything that a process of a group does.
const TIMEOUT_MS: u64 = 120_000;

/// Makes the group.
pub(super) fn make() -> Vec<Action> {
    vec![
        program(&["mkdir", "-p", ROOT], vec![]),
        program(&["mount", "-t", "cgroup2", "none", ROOT], vec![]),
        does(Op::WriteFile {
            path: format!("{ROOT}/cgroup.subtree_control"),
            bytes: b"+memory".to_vec(),
        }),
        program(&["mkdir", GROUP], vec![]),
    ]
}

/// Writes to a file of the group.
pub(super) fn set(file: &str, text: &str) -> Op {
    Op::WriteFile {
        path: format!("{GROUP}/{file}"),
        bytes: text.into(),
    }
}

/// Reads a file of the group.
pub(super) fn get(file: &str) -> Op {
    Op::ReadFile {
        path: format!("{GROUP}/{file}"),
    }
}

/// A process joins the group, does this, and ends.
pub(super) fn inside(steps: Vec<(Op, Expect)>) -> Action {
    let join = (set("cgroup.procs", "0"), Expect::Success);
    let (ops, expect) = [join].into_iter().chain(steps).unzip();
    let op = Op::InChild {
        ops,
        then: Ending::Exit,
        timeout_ms: TIMEOUT_MS,
    };
    Action::Do(op, Expect::Child(expect))
}
