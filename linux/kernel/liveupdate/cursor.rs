// SPDX-License-Identifier: GPL-2.0-only

//! Where the entries of a set stand in its blocks.

/// The number of blocks that `entries` need.
pub(crate) const fn blocks_for(entries: usize, per_block: usize) -> usize {
    entries.div_ceil(per_block)
}

/// Block and slot of the entry `index`, where every block but the last is full.
pub(crate) const fn place(index: usize, per_block: usize) -> (usize, usize) {
    (index / per_block, index % per_block)
}

/// How many of `entries` stand in block `block`.
pub(crate) const fn fill(entries: usize, block: usize, per_block: usize) -> usize {
    let before = block * per_block;
    let left = entries.saturating_sub(before);
    if left < per_block {
        left
    } else {
        per_block
    }
}
