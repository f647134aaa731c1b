// SPDX-License-Identifier: GPL-2.0-only

//! Chains of pages that say where an area of vmalloc was, whatever is in them.

use crate::machine::{Booted, Tree};
use kernel::{
    error::code::*,
    kho::{extent::Extent, PhysAddr},
};
use luo_kho::chain::{Chain, PER_CHUNK};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

/// Where the pages of the chain lie, and behind them the area.
const CHUNKS: u64 = 0x2_0000;
const AREA: u64 = 0x2_0400;

/// An area as the previous kernel preserved it, in pieces of an order up to that of its extents.
#[derive(Clone, Debug)]
struct Area {
    order: u16,
    pfns: Vec<u64>,
    piece: u8,
    chunks: Vec<[u64; 512]>,
}

impl Area {
    fn new(order: u16, nr: u64, piece: u8) -> Self {
        // Not in the order of the addresses.
        let pfns: Vec<_> = (0..nr).map(|it| AREA + ((nr - it) << order)).collect();
        let mut chunks = Vec::new();
        for (index, part) in (0_u64..).zip(pfns.chunks(PER_CHUNK)) {
            let mut chunk = [0; 512];
            if (index as usize + 1) * PER_CHUNK < pfns.len() {
                chunk[0] = (CHUNKS + index + 1) * 4096;
            }
            for (word, pfn) in chunk[1..].iter_mut().zip(part) {
                *word = pfn * 4096;
            }
            chunks.push(chunk);
        }
        let piece = piece.min(order as u8);
        Self {
            order,
            pfns,
            piece,
            chunks,
        }
    }

    fn nr_pages(&self) -> u32 {
        (self.pfns.len() << self.order) as u32
    }

    fn boot(&self) -> Booted {
        let pieces = self.pfns.iter().flat_map(|first| {
            let pfns = (*first..first + (1 << self.order)).step_by(1 << self.piece);
            pfns.map(|it| Extent::new(it, self.piece))
        });
        let chunks = (CHUNKS..).take(self.chunks.len());
        let mut tree = Tree::new(&[]);
        for it in chunks.clone().map(|it| Extent::new(it, 0)).chain(pieces) {
            tree.insert(luo_kho::key::encode(it));
        }
        let words = self.chunks.iter().map(|it| Box::new(*it));
        tree.tables.extend(chunks.zip(words));
        let booted = tree.boot();
        booted.ram.enter();
        booted
    }
}

fn areas() -> impl Strategy<Value = Area> {
    (0_u16..4, 1_u64..1200, 0_u8..4).prop_map(|(order, nr, piece)| Area::new(order, nr, piece))
}

/// What may stand in a chain: nothing, a page of it, an extent, something beside them, anything.
fn words() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        (0_u64..4).prop_map(|it| (CHUNKS + it) * 4096),
        (0_u64..0x300).prop_map(|it| (AREA + it) * 4096),
        (0_u64..0x300).prop_map(|it| AREA * 4096 + it * 512),
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_area_is_claimed_as_a_whole(area in areas()) {
        let booted = area.boot();
        let before = booted.claimable();
        let first = PhysAddr(CHUNKS * 4096);
        let chain = Chain::claim(first, area.order, area.nr_pages()).ok().unwrap();
        prop_assert_eq!(&*chain.pfns, &*area.pfns);
        prop_assert_eq!(chain.chunks.len(), area.chunks.len());
        prop_assert_eq!(booted.claimable(), []);
        drop(chain);
        prop_assert_eq!(booted.claimable(), before.clone());
        for (order, nr_pages) in [
            (area.order, area.nr_pages() + (1 << area.order)),
            (area.order, area.nr_pages() - (1 << area.order)),
            (area.order, 0),
            (area.order + 1, area.nr_pages()),
            (19, area.nr_pages()),
            (u16::MAX, area.nr_pages()),
        ] {
            let claimed = Chain::claim(first, order, nr_pages);
            prop_assert_eq!(claimed.err(), Some(EINVAL), "order {}, {} pages", order, nr_pages);
            prop_assert_eq!(booted.claimable(), before.clone());
        }
    }

    #[test]
    fn a_changed_chain_is_an_area_or_nothing(
        area in areas(),
        changes in vec((any::<prop::sample::Index>(), 0_usize..512, words()), 1..4),
        first in prop_oneof![9 => Just(CHUNKS * 4096), 1 => words()],
    ) {
        let mut changed = area.clone();
        for (chunk, word, value) in changes {
            chunk.get_mut(&mut changed.chunks)[word] = value;
        }
        let booted = changed.boot();
        let before = booted.claimable();
        match Chain::claim(PhysAddr(first), area.order, area.nr_pages()) {
            Err(err) => prop_assert_eq!(err, EINVAL),
            Ok(chain) => {
                let parts = || Iterator::chain(chain.chunks.iter(), chain.extents.iter());
                let pages: BTreeSet<_> = parts().flat_map(|it| it.extent().pages()).collect();
                let nr_pages = area.nr_pages() as usize + chain.chunks.len();
                prop_assert_eq!(pages.len(), nr_pages);
                for pfn in &*chain.pfns {
                    prop_assert!((*pfn..pfn + (1 << area.order)).all(|it| pages.contains(&it)));
                }
            }
        }
        prop_assert_eq!(booted.claimable(), before);
    }
}

#[test]
fn what_no_kernel_writes_is_refused() {
    let good = Area::new(1, 600, 1);
    let change = |chunk: usize, word: usize, value: u64| {
        let mut changed = good.clone();
        changed.chunks[chunk][word] = value;
        changed
    };
    let [first, second] = [good.chunks[0][1], good.chunks[0][2]];
    for (changed, what) in [
        (change(0, 0, 0), "an end after the first page"),
        (change(0, 0, CHUNKS * 4096), "a page that follows itself"),
        (change(1, 0, CHUNKS * 4096), "a ring"),
        (change(0, 0, (CHUNKS + 1) * 4096 + 8), "a page out of line"),
        (change(0, 0, first), "an extent as a page"),
        (change(0, 1, CHUNKS * 4096), "a page as an extent"),
        (change(0, 1, second), "an extent twice"),
        (change(0, 1, 0), "an extent missing"),
        (change(0, 1, first + 8), "an address in a page"),
        (change(0, 1, first + 4096), "an address in an extent"),
        (change(0, 1, u64::MAX), "an address beyond all memory"),
        (change(1, 511, first), "nothing, and something behind it"),
        (change(1, 90, good.pfns[0] * 4096), "an extent too many"),
    ] {
        let booted = changed.boot();
        let before = booted.claimable();
        let claimed = Chain::claim(PhysAddr(CHUNKS * 4096), good.order, good.nr_pages());
        // What is behind the end is not looked at.
        let expected = (!what.starts_with("nothing")).then_some(EINVAL);
        assert_eq!(claimed.err(), expected, "{what}");
        assert_eq!(booted.claimable(), before, "{what}");
    }
}
