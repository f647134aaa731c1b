// SPDX-License-Identifier: GPL-2.0-only

//! Trees that no kernel writes that works.

use crate::{
    extents::anywhere,
    machine::{boot, is_free, overlap, Tree, NODES},
};
use kernel::kho::{extent::Extent, PhysAddr};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn what_lies_in_something_else_is_kept_from_everybody(extents in vec(anywhere(), 0..60)) {
        let extents: BTreeSet<_> = extents.iter().map(|it| (it.pfn(), it.order())).collect();
        let extents: Vec<_> = extents.iter().map(|it| Extent::new(it.0, it.1)).collect();
        let booted = Tree::new(&extents).boot();
        let free: Vec<_> = extents.iter().copied().filter(|it| is_free(*it)).collect();
        let is_alone = |it: &Extent| {
            let others = free.iter().filter(|other| *other != it);
            !others.into_iter().any(|other| overlap(&other.pages(), &it.pages()))
        };
        let alone: Vec<_> = free.iter().copied().filter(is_alone).collect();
        prop_assert_eq!(booted.claimable(), alone);
        for it in &free {
            prop_assert!(booted.keeps(&it.pages()));
        }
        prop_assert_eq!(booted.tally.extents, free.len() as u64);
        let tally = booted.tally;
        let refused = tally.absent + tally.scratch + tally.used + tally.crossing;
        // Nobody looks for single ones behind all memory.
        let nr_behind = extents.iter().filter(|it| it.pfn() >= 0x4_0000).count();
        let nr_refused = extents.len() - free.len();
        prop_assert!(((nr_refused - nr_behind) as u64..=nr_refused as u64).contains(&refused));
        let covered: BTreeSet<u64> = free.iter().flat_map(|it| it.pages()).collect();
        prop_assert_eq!(booted.nr_kept(), covered.len() as u64);
    }

    #[test]
    fn changed_words_neither_hang_nor_reach_beyond_free_memory(
        extents in vec(anywhere(), 1..20),
        changes in vec((0_u64..12, 0_usize..512, word()), 1..20),
        root in prop_oneof![9 => Just(NODES.start * 4096), 1 => any::<u64>()],
    ) {
        let mut tree = Tree::new(&extents);
        for (node, index, word) in changes {
            if let Some(table) = tree.tables.get_mut(&(NODES.start + node)) {
                table[index] = word;
            }
        }
        // What is marked is free: the machine checks it.
        let booted = boot(&tree.ram(), PhysAddr(root));
        for it in booted.claimable() {
            prop_assert!(is_free(it));
            prop_assert!(booted.keeps(&it.pages()));
        }
    }
}

/// Values of which many look like something.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        NODES.prop_map(|pfn| pfn * 4096),
        (0_u64..0x5_0000).prop_map(|pfn| pfn * 4096),
        any::<u64>(),
        (0_u32..64).prop_map(|bit| 1 << bit),
        Just(u64::MAX),
    ]
}

#[test]
fn a_tree_of_cycles_ends() {
    let mut tree = Tree::new(&[]);
    let root = tree.root();
    tree.tables.get_mut(&NODES.start).unwrap().fill(root.0);
    let booted = tree.boot();
    assert!(booted.tally.broken > 0);
}

#[test]
fn what_cannot_be_kept_cannot_be_claimed() {
    let extents = [
        Extent::new(0x2000, 0),
        Extent::new(0x1_0000, 4),
        Extent::new(0x2_0000, 9),
    ];
    let tree = Tree::new(&extents);
    let ram = tree.ram();
    ram.allow_reservations(1);
    let booted = boot(&ram, tree.root());
    assert_eq!(booted.claimable(), extents[..1]);
    assert!(booted.tally.unkept >= 16 + 512);
}
