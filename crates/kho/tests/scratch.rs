// SPDX-License-Identifier: GPL-2.0-only

//! Memory that the kernel that boots may have.

use crate::machine::{overlap, Tree, NODES};
use kernel::{
    host::ram::Ram,
    kho::{boot::Memory, extent::Extent},
};
use luo_kho::scratch::find;
use proptest::{collection::vec, prelude::*};
use std::ops::Range;

const GIB: u64 = 1 << 18;

/// What is found in 16 GiB.
fn found(extents: &[Extent]) -> Vec<Range<u64>> {
    let tree = Tree::new(extents);
    let ram = Ram::new(vec![(0x100..16 * GIB, None)], tree.tables.clone());
    let memory = Memory::of(ram);
    find(&memory, tree.root()).unwrap().collect()
}

#[test]
fn it_is_what_nothing_lies_in() {
    assert!(found(&[]).iter().eq([&(GIB..16 * GIB)]));
    let extents = [Extent::new(3 * GIB + 7, 0), Extent::new(8 * GIB, 19)];
    assert_eq!(
        found(&extents),
        [GIB..3 * GIB, 4 * GIB..8 * GIB, 10 * GIB..16 * GIB]
    );
    let last = [Extent::new(15 * GIB, 0)];
    assert!(found(&last).iter().eq([&(GIB..15 * GIB)]));
}

proptest! {
    #[test]
    fn neither_extents_nor_the_tree_are_in_it(places in vec((0_u64..16 * GIB, 0_u8..20), 0..20)) {
        let extent = |(pfn, order): &(u64, u8)| Extent::new(pfn >> order << order, *order);
        let extents: Vec<_> = places.iter().map(extent).collect();
        for range in found(&extents) {
            prop_assert!(range.start < range.end && range.end <= 16 * GIB);
            prop_assert!(!overlap(&range, &NODES));
            for it in &extents {
                prop_assert!(!overlap(&range, &it.pages()));
            }
        }
    }
}
