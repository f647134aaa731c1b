// SPDX-License-Identifier: GPL-2.0-only

//! Random files, through random lives.

use crate::{
    life::{Fault, Incoming, Outgoing},
    plan::{plans, Plan},
};
use kernel::{
    host::{
        self,
        shmem::{add_seals, fill, orders, seek},
    },
    liveupdate::ops::FileOps,
};
use luo_memfd::handler;
use proptest::{collection::vec, prelude::*};

/// What happens to a file in a kernel that has not retrieved it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Retrieve(Fault),
    Carry(Fault, bool),
}

#[derive(Clone, Debug)]
struct Life {
    plan: Plan,
    is_given_up_first: bool,
    preserve: Fault,
    is_changed: bool,
    is_refused_by_others: bool,
    freeze: Fault,
    events: Vec<Event>,
    is_discarded: bool,
}

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        (0..30_usize).prop_map(Fault::Memory),
        (0..10_usize).prop_map(Fault::Kill),
    ]
}

fn lives() -> impl Strategy<Value = Life> {
    let event = prop_oneof![
        faults().prop_map(Event::Retrieve),
        (faults(), any::<bool>()).prop_map(|(fault, jumps)| Event::Carry(fault, jumps)),
    ];
    let flags = any::<[bool; 4]>();
    let outgoing = (plans(), faults(), faults());
    (outgoing, flags, vec(event, 0..6)).prop_map(|((plan, preserve, freeze), flags, events)| {
        let [is_given_up_first, is_changed, is_refused_by_others, is_discarded] = flags;
        Life {
            plan,
            is_given_up_first,
            preserve,
            is_changed,
            is_refused_by_others,
            freeze,
            events,
            is_discarded,
        }
    })
}

fn live<T: FileOps>(handler: &T, life: &Life) {
    host::kexec();
    let file = life.plan.make();
    let (mut outgoing, _) = Outgoing::preserve(handler, file, life.preserve);
    if life.is_given_up_first {
        let file = outgoing.unpreserve();
        outgoing = Outgoing::preserve(handler, file, Fault::None).0;
    }
    if life.is_changed {
        seek(&outgoing.file, 12345);
        if life.plan.is_executable && life.plan.seals == 0 {
            add_seals(&outgoing.file, 0b1010);
        }
        if let Some(hole) = life.plan.hole() {
            fill(&outgoing.file, hole, 0, 0, 7 << 48);
        }
    }
    outgoing.freeze(life.freeze);
    if life.is_refused_by_others {
        outgoing.unfreeze();
        outgoing.freeze(Fault::None);
    }
    end(outgoing.kexec(), life);
}

fn end<T: FileOps>(mut incoming: Incoming<T>, life: &Life) {
    for event in &life.events {
        match *event {
            Event::Retrieve(fault) => match incoming.fail_to_retrieve(fault) {
                Ok(again) => incoming = again,
                Err(file) => {
                    drop(file);
                    assert_eq!(host::pages_in_use(), 0);
                    return;
                }
            },
            Event::Carry(fault, jumps) => {
                incoming.carry(fault);
                if jumps {
                    incoming = incoming.kexec();
                } else {
                    incoming.uncarry();
                }
            }
        }
    }
    if life.is_discarded {
        incoming.discard(Fault::None);
    } else {
        drop(incoming.retrieve());
    }
    assert_eq!(host::pages_in_use(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn files_come_back_as_they_were_and_nothing_is_lost(life in lives()) {
        live(&handler(), &life);
    }
}

#[test]
fn neighbours_come_back_as_large_folios() {
    let mut plan = Plan::scattered(1500);
    for piece in &mut plan.pieces {
        piece.gap = 0;
    }
    // A new machine's memory begins in the middle of a block, and one of its nodes ends in the middle of another.
    plan.pieces[0].hole = 256;
    host::kexec();
    let mut outgoing = Outgoing::preserve(&handler(), plan.make(), Fault::None).0;
    outgoing.freeze(Fault::None);
    let file = outgoing.kexec().retrieve();
    let orders = orders(&file);
    assert_eq!(orders[..3], [8, 8, 7], "up to the end of the node");
    assert_eq!(orders.iter().map(|it| 1 << it).sum::<u64>(), 1500);
    assert!(orders.contains(&9) && orders.len() < 20, "{orders:?}");
}
