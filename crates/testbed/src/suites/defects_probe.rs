// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What C gets wrong with handlers and FLBs that answer otherwise than the tree's: with the guest kernel's test handler,
//! whose answers stand in files under debugfs.

use luo_guest::proto::Op;

use crate::scenario::{
    Action, Expect, Flavor, Scenario,
    steps::{
        close, close_device, create, does, fails, fetch, finish, judge, kexec, open, preserve,
        retrieve,
    },
};

const ANSWERS: &str = "/sys/kernel/debug/luo_probe";

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        Scenario::new(
            format!("defects/{what} on {}", flavor.name()),
            flavor,
            actions,
        )
    };
    vec![
        scenario("an FLB that nobody asked for", flb_not_asked_for(flavor)),
        scenario("an FLB borrowed over the kexec", flb_borrowed(flavor)),
        scenario("a finish that failed on close", failed_finish(flavor))
            .expecting("nable to finish"),
    ]
}

/// Sets an answer of the test handler.
pub(super) fn set(answer: &str, value: &str) -> Action {
    does(Op::WriteFile {
        path: format!("{ANSWERS}/{answer}"),
        bytes: value.as_bytes().to_vec(),
    })
}

/// How often a callback has been called, as text.
pub(super) fn counted(callback: &str, times: &'static str) -> Action {
    Action::Do(
        Op::ReadFile {
            path: format!("{ANSWERS}/{callback}"),
        },
        Expect::Contents(times),
    )
}

/// Opens a file of the test handler that holds a value.
pub(super) fn probe(slot: &str, value: u64) -> Vec<Action> {
    vec![
        does(Op::OpenFile {
            slot: slot.into(),
            path: "/dev/luo_probe".into(),
        }),
        write(slot, value),
    ]
}

/// Writes a value to a file of the test handler.
pub(super) fn write(slot: &str, value: u64) -> Action {
    does(Op::WriteSlot {
        slot: slot.into(),
        bytes: value.to_le_bytes().to_vec(),
    })
}

/// A file of the test handler still holds its value.
pub(super) fn holds(slot: &str, value: u64) -> Action {
    Action::Do(
        Op::ReadSlot {
            slot: slot.into(),
            len: 8,
        },
        Expect::Bytes(value.to_le_bytes().to_vec()),
    )
}

/// Session "s" with two files of the test handler, in the kernel that is to be left.
fn two_probes() -> Vec<Action> {
    let mut actions = vec![open(), create("s")];
    actions.extend(probe("one", 111));
    actions.extend(probe("two", 222));
    actions.extend([
        preserve("s", 1, "one"),
        preserve("s", 2, "two"),
        counted("flb_preserved", "1"),
        close_device(),
    ]);
    actions
}

pub(super) fn both_back() -> Vec<Action> {
    vec![
        open(),
        retrieve("s"),
        fetch("s", 1, "one"),
        fetch("s", 2, "two"),
        holds("one", 111),
        holds("two", 222),
    ]
}

/// No driver had called get before the last file was finished: the count underflowed and the FLB was never finished.
fn flb_not_asked_for(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_probes();
    actions.push(kexec(flavor));
    actions.extend(both_back());
    actions.extend([
        counted("flb_finished", "0"),
        finish("s"),
        judge(counted("flb_finished", "1"), "holds \"0\""),
        counted("finished", "2"),
        close("s"),
        counted("flb_finished", "1"),
    ]);
    actions
}

/// A driver held the FLB's object at the kexec: its reference was handed over as if it were a file, and the FLB never ended.
fn flb_borrowed(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_probes();
    actions.extend([set("hold_outgoing", "1"), kexec(flavor)]);
    // Asking once keeps the other defect, of an FLB that nobody asked for, out of this scenario.
    actions.extend([
        set("hold_incoming", "1"),
        set("hold_incoming", "0"),
        counted("flb_finished", "0"),
    ]);
    actions.extend(both_back());
    actions.extend([
        finish("s"),
        judge(counted("flb_finished", "1"), "holds \"0\""),
    ]);
    actions
}

/// A handler was not ready when a session was closed: the session could never be reached again.
fn failed_finish(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_probes();
    actions.push(kexec(flavor));
    actions.extend(both_back());
    actions.extend([
        set("can_finish", "N"),
        fails(finish("s"), libc::EBUSY),
        close("s"),
        set("can_finish", "Y"),
        judge(retrieve("s"), "errno 22:"),
        fetch("s", 2, "two"),
        holds("two", 222),
        finish("s"),
        counted("finished", "2"),
    ]);
    actions
}
