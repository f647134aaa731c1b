// SPDX-License-Identifier: GPL-2.0-only

//! Every allocation fails once, and the task is killed once, at every point.

use crate::{
    life::{Fault, Incoming, Outgoing},
    plan::Plan,
};
use kernel::{
    host::{self, shmem::fill},
    liveupdate::ops::FileOps,
};
use luo_memfd::handler;

const FAULTS: [fn(usize) -> Fault; 2] = [Fault::Memory, Fault::Kill];

/// A file with more folios than a page of the array holds, and a hole.
fn plan() -> Plan {
    let mut plan = Plan::scattered(300);
    plan.pieces[200].hole = 1;
    plan
}

/// Has `task` done with every fault, one after the other, until there are no more. Says how many there were.
fn everywhere(mut task: impl FnMut(Fault) -> bool) -> usize {
    let count = |fault: &fn(usize) -> Fault| (0..).take_while(|it| task(fault(*it))).count();
    FAULTS.iter().map(count).sum()
}

fn preserved<T: FileOps>(handler: &T) -> Outgoing<T> {
    host::kexec();
    Outgoing::preserve(handler, plan().make(), Fault::None).0
}

fn arrived<T: FileOps>(handler: &T) -> Incoming<T> {
    let mut outgoing = preserved(handler);
    outgoing.freeze(Fault::None);
    outgoing.kexec()
}

fn expect_nothing_left() {
    assert_eq!(host::pages_in_use(), 0);
}

#[test]
fn preserving() {
    let points = everywhere(|fault| {
        host::kexec();
        let (outgoing, has_failed) = Outgoing::preserve(&handler(), plan().make(), fault);
        drop(outgoing.unpreserve());
        expect_nothing_left();
        has_failed
    });
    println!("preserving: {points} points");
    assert!(points > 300);
}

#[test]
fn freezing_a_file_that_has_grown() {
    let points = everywhere(|fault| {
        let mut outgoing = preserved(&handler());
        fill(&outgoing.file, plan().hole().unwrap(), 0, 0, 7 << 48);
        let has_failed = outgoing.freeze(fault);
        drop(outgoing.kexec().retrieve());
        expect_nothing_left();
        has_failed
    });
    println!("freezing: {points} points");
    assert!(points > 300);
}

#[test]
fn retrieving() {
    let points = everywhere(|fault| {
        let incoming = arrived(&handler());
        let (file, has_failed) = match incoming.fail_to_retrieve(fault) {
            Ok(incoming) => (incoming.retrieve(), true),
            Err(file) => (file, false),
        };
        drop(file);
        expect_nothing_left();
        has_failed
    });
    println!("retrieving: {points} points");
    assert!(points > 600);
}

#[test]
fn passing_on() {
    let points = everywhere(|fault| {
        let mut incoming = arrived(&handler());
        let has_failed = incoming.carry(fault);
        incoming.uncarry();
        incoming.carry(Fault::None);
        drop(incoming.kexec().retrieve());
        expect_nothing_left();
        has_failed
    });
    println!("passing on: {points} points");
    assert!(points > 30);
}

/// Nobody can ask again: it has to be done, whatever happens, and however far a retrieval has come.
#[test]
fn discarding() {
    let points = everywhere(|half_way| {
        let Ok(incoming) = arrived(&handler()).fail_to_retrieve(half_way) else {
            return false;
        };
        incoming.discard(Fault::Memory(0));
        expect_nothing_left();
        true
    });
    println!("discarding: {points} stages of retrieval");
    let has_failed = arrived(&handler()).discard(Fault::Memory(0));
    assert!(!has_failed, "it takes memory");
    expect_nothing_left();
    arrived(&handler()).discard(Fault::Kill(0));
    expect_nothing_left();
}
