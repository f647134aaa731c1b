// SPDX-License-Identifier: GPL-2.0-only

//! A machine with a tree of extents in it.

use kernel::{
    host::ram::{Ram, Table, Usage},
    kho::{
        boot::{Kept, Memory},
        extent::Extent,
        PhysAddr,
    },
};
use luo_kho::{
    key::{self, DEPTH},
    restore::{release, restore, Released, Tally},
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Where the nodes of the tree lie: free memory that nothing else uses.
pub(crate) const NODES: Range<u64> = 0x1000..0x2000;

/// 1 GiB with holes: what a kernel finds that boots.
pub(crate) fn areas() -> Vec<(Range<u64>, Option<Usage>)> {
    vec![
        (0..0x100, Some(Usage::Used)),
        (0x100..0x4000, None),
        (0x4000..0x5000, Some(Usage::Scratch)),
        (0x5000..0x8800, None),
        // A hole, in the middle of a block.
        (0x8a00..0x9000, None),
        (0x9000..0x9400, Some(Usage::Used)),
        // The next node.
        (0x9400..0x2_0000, None),
        (0x2_0000..0x4_0000, None),
    ]
}

/// A tree, as the previous kernel writes it.
pub(crate) struct Tree {
    pub(crate) tables: BTreeMap<u64, Box<Table>>,
    next: u64,
}

impl Tree {
    pub(crate) fn new(extents: &[Extent]) -> Self {
        let mut tree = Self {
            tables: BTreeMap::new(),
            next: NODES.start,
        };
        tree.node();
        for it in extents {
            tree.insert(key::encode(*it));
        }
        tree
    }

    pub(crate) fn root(&self) -> PhysAddr {
        PhysAddr(NODES.start * 4096)
    }

    fn node(&mut self) -> u64 {
        let pfn = self.next;
        assert!(NODES.contains(&pfn));
        self.next += 1;
        self.tables.insert(pfn, Box::new([0; 512]));
        pfn
    }

    pub(crate) fn insert(&mut self, key: u64) {
        let mut pfn = NODES.start;
        for level in (0..DEPTH - 1).rev() {
            let index = (key >> key::bits(level)) as usize % 512;
            if self.tables[&pfn][index] == 0 {
                let below = self.node();
                self.tables.get_mut(&pfn).unwrap()[index] = below * 4096;
            }
            pfn = self.tables[&pfn][index] / 4096;
        }
        let bit = key as usize % (1 << key::LEAF_BITS);
        self.tables.get_mut(&pfn).unwrap()[bit / 64] |= 1 << (bit % 64);
    }

    pub(crate) fn ram(&self) -> Arc<Ram> {
        Ram::new(areas(), self.tables.clone())
    }

    pub(crate) fn boot(&self) -> Booted {
        boot(&self.ram(), self.root())
    }
}

/// What there is when the allocator has its memory.
pub(crate) struct Booted {
    pub(crate) ram: Arc<Ram>,
    pub(crate) tally: Tally,
    pub(crate) released: Released,
}

pub(crate) fn boot(ram: &Arc<Ram>, root: PhysAddr) -> Booted {
    let memory = Memory::of(ram.clone());
    let (kept, tally) = restore(&memory, root).unwrap();
    Booted {
        ram: ram.clone(),
        tally,
        released: release_all(kept),
    }
}

fn release_all(kept: Kept) -> Released {
    let mut released = Released::default();
    for range in kept.into_ranges() {
        release(range, &mut released);
    }
    released
}

impl Booted {
    /// What can be claimed.
    pub(crate) fn claimable(&self) -> Vec<Extent> {
        let marks = self.ram.marks().into_iter();
        let claimable = marks.filter(|(_, mark)| mark >> 32 == 0x4b48_4f50);
        let extent = |(pfn, mark)| Extent::new(pfn, mark as u8);
        claimable.map(extent).collect()
    }

    /// Whether all pages are kept, and from the allocator, too.
    pub(crate) fn keeps(&self, pfns: &Range<u64>) -> bool {
        let reserved = self.ram.reserved();
        let is_in = |it: &Range<u64>| it.start <= pfns.start && pfns.end <= it.end;
        reserved.iter().any(is_in) && !self.ram.freed().iter().any(|it| overlap(it, pfns))
    }

    /// Pages that are kept and were not given to the allocator.
    pub(crate) fn nr_kept(&self) -> u64 {
        let pages =
            |ranges: Vec<Range<u64>>| ranges.iter().map(|it| it.end - it.start).sum::<u64>();
        pages(self.ram.reserved()) - pages(self.ram.freed())
    }
}

pub(crate) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Whether an extent lies in one area that is free.
pub(crate) fn is_free(extent: Extent) -> bool {
    let pfns = extent.pages();
    let is_in = |it: &Range<u64>| it.start <= pfns.start && pfns.end <= it.end;
    areas()
        .iter()
        .any(|(it, usage)| usage.is_none() && is_in(it))
}
