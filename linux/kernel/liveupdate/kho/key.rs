// SPDX-License-Identifier: GPL-2.0-only

//! Where an extent stands in the tree, "kho-v4".
//!
//! The key of an extent is its number among the extents of its order, with a bit above it that is the
//! lower the higher the order is. The tree has [`DEPTH`] levels: tables of addresses, and bitmaps at
//! the bottom.

use kernel::kho::extent::Extent;

/// Levels of the tree, that of the bitmaps included.
pub const DEPTH: u32 = 6;

/// Bits of a key that a bitmap resolves.
pub const LEAF_BITS: u32 = 15;

/// Bits of a key that a table resolves.
pub const TABLE_BITS: u32 = 9;

/// The bit above the numbers of single pages.
const ORDER_0_BIT: u32 = 52;

/// Bits of a key that a node of this level, and those below it, resolve.
pub const fn bits(level: u32) -> u32 {
    LEAF_BITS + level * TABLE_BITS
}

/// The key of an extent.
pub const fn encode(extent: Extent) -> u64 {
    let order = extent.order() as u32;
    1 << (ORDER_0_BIT - order) | extent.pfn() >> order
}

/// The extent of a key, if it is one.
#[inline]
pub const fn decode(key: u64) -> Option<Extent> {
    let Some(top) = key.checked_ilog2() else {
        return None;
    };
    if top > ORDER_0_BIT {
        return None;
    }
    let order = ORDER_0_BIT - top;
    Some(Extent::new((key ^ 1 << top) << order, order as u8))
}

/// Whether an extent that begins before page `end` may stand below a node of this level, whose first key is
/// `first`.
pub fn may_hold(first: u64, level: u32, end: u64) -> bool {
    // A node has extents of one order only, unless it is the first of its level: that has all the
    // high ones.
    first < 1 << bits(level) || decode(first).is_some_and(|it| it.pfn() < end)
}
