// SPDX-License-Identifier: GPL-2.0-only

//! Trees that a kernel writes that works.

use crate::machine::{areas, is_free, overlap, Tree, NODES};
use kernel::{
    host::ram::{Ram, Usage},
    kho::extent::Extent,
};
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeMap, iter};

/// Extents anywhere, that are not where the tree is.
pub(crate) fn anywhere() -> impl Strategy<Value = Extent> {
    let order = prop_oneof![8 => 0_u8..4, 2 => 4_u8..13, 1 => 13_u8..19];
    let extent = (0_u64..0x4_8000, order);
    let extent = extent.prop_map(|(pfn, order)| Extent::new(pfn >> order << order, order));
    extent.prop_filter("the tree is there", |it| !overlap(&it.pages(), &NODES))
}

/// Extents in free memory, none of which lies in another.
fn apart() -> impl Strategy<Value = Vec<Extent>> {
    vec(anywhere(), 0..60).prop_map(|candidates| {
        let mut extents: Vec<Extent> = Vec::new();
        for it in candidates.into_iter().filter(|it| is_free(*it)) {
            if !extents
                .iter()
                .any(|other| overlap(&other.pages(), &it.pages()))
            {
                extents.push(it);
            }
        }
        extents.sort_by_key(|it| it.pfn());
        extents
    })
}

proptest! {
    #[test]
    fn all_extents_can_be_claimed_and_nothing_else_is_kept(extents in apart()) {
        let booted = Tree::new(&extents).boot();
        prop_assert_eq!(&booted.claimable(), &extents);
        for it in &extents {
            prop_assert!(booted.keeps(&it.pages()));
        }
        let nr_pages: u64 = extents.iter().map(|it| it.nr_pages()).sum();
        prop_assert_eq!(booted.nr_kept(), nr_pages);
        prop_assert_eq!((booted.tally.extents, booted.tally.pages), (extents.len() as u64, nr_pages));
        prop_assert_eq!(booted.tally.kept, nr_pages + booted.released.free);
        prop_assert_eq!((booted.released.lost, booted.tally.broken), (0, 0));
    }
}

#[test]
fn neighbours_are_one_range() {
    let extents: Vec<_> = (0x1_0000..0x1_8000)
        .map(|pfn| Extent::new(pfn, 0))
        .collect();
    let booted = Tree::new(&extents).boot();
    assert_eq!(
        booted.ram.reserved(),
        iter::once(0x1_0000..0x1_8000).collect::<Vec<_>>()
    );
    assert_eq!(booted.ram.freed(), []);
}

#[test]
fn every_second_page_is_one_range_too() {
    let pfns = (0x1_0000..0x1_8000).step_by(2);
    let extents: Vec<_> = pfns.map(|pfn| Extent::new(pfn, 0)).collect();
    let booted = Tree::new(&extents).boot();
    assert_eq!(booted.tally.runs, 1);
    assert_eq!(booted.claimable(), extents);
    assert_eq!(booted.released.free, 0x4000);
}

#[test]
fn what_is_scattered_comes_in_few_ranges() {
    // Every second block of 16 GiB, so that there would be 2048 ranges.
    let memory = 0x1_0000..0x41_0000;
    let extents: Vec<_> = memory
        .clone()
        .step_by(2048)
        .map(|pfn| Extent::new(pfn, 0))
        .collect();
    let tree = Tree::new(&extents);
    let areas = vec![
        (0..0x100, Some(Usage::Used)),
        (0x100..0x1_0000, None),
        (memory.clone(), None),
    ];
    let booted = crate::machine::boot(&Ram::new(areas, tree.tables.clone()), tree.root());
    assert!(booted.tally.runs <= 1024, "{:?}", booted.tally);
    assert_eq!(booted.claimable(), extents);
    assert_eq!(booted.nr_kept(), extents.len() as u64);
}

#[test]
fn nothing_is_kept_if_nothing_is_preserved() {
    let booted = Tree::new(&[]).boot();
    assert_eq!(
        (booted.ram.reserved(), booted.ram.marks()),
        (vec![], BTreeMap::new())
    );
}

#[test]
fn extents_at_the_edges_of_memory_are_found() {
    let free = areas().into_iter().filter(|it| it.1.is_none());
    let edges = free.flat_map(|(it, _)| [Extent::new(it.start, 0), Extent::new(it.end - 1, 0)]);
    let edges: Vec<_> = edges.collect();
    assert_eq!(Tree::new(&edges).boot().claimable(), edges);
}
