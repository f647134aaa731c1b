// SPDX-License-Identifier: GPL-2.0-only

//! Block sets: chains of preserved pages that carry entries of one kind to the next kernel.

use crate::{
    abi::{Block, MAX_BLOCKS},
    cursor,
};
use kernel::{
    kho::{PhysAddr, Preserved, Restored},
    prelude::*,
};

/// The blocks of an outgoing set.
///
/// # Invariants
///
/// Each block but the last points to the next, the last has `next_pa` 0. While nothing is
/// serialized every `count` is 0.
pub(crate) struct OutgoingBlocks<E: FromBytes, const N: usize>(KVVec<Preserved<Block<E, N>>>);

impl<E: FromBytes + Copy, const N: usize> OutgoingBlocks<E, N> {
    /// A set without blocks.
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }

    /// Makes room for `entries`, so that serialization needs no memory.
    ///
    /// # Errors
    ///
    /// `ENOSPC` beyond the limit of the format, `ENOMEM`. The set is then as large as it was.
    pub(crate) fn grow(&mut self, entries: usize) -> Result {
        let needed = cursor::blocks_for(entries, N);
        if needed > MAX_BLOCKS {
            return Err(ENOSPC);
        }
        let before = self.0.len();
        while self.0.len() < needed {
            if let Err(err) = self.push() {
                self.truncate(before);
                return Err(err);
            }
        }
        Ok(())
    }

    fn push(&mut self) -> Result {
        self.0.reserve(1, GFP_KERNEL)?;
        let block: Preserved<Block<E, N>> = Preserved::new()?;
        let addr = block.phys();
        self.0.push(block, GFP_KERNEL)?;
        if let [.., last, _] = &mut self.0[..] {
            last.next_pa = addr.0;
        }
        Ok(())
    }

    /// Frees the blocks that `entries` do not need.
    pub(crate) fn shrink(&mut self, entries: usize) {
        self.truncate(cursor::blocks_for(entries, N));
    }

    fn truncate(&mut self, blocks: usize) {
        if blocks < self.0.len() {
            self.0.truncate(blocks);
            if let Some(last) = self.0.last_mut() {
                last.next_pa = 0;
            }
        }
    }

    /// Writes entry `index`.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if [`grow`](Self::grow) has not made room for it.
    pub(crate) fn put(&mut self, index: usize, entry: E) -> Result {
        let (block, slot) = cursor::place(index, N);
        self.0.get_mut(block).ok_or(ENOSPC)?.entries[slot] = entry;
        Ok(())
    }

    /// Declares the first `entries` as written. 0 takes everything back.
    pub(crate) fn seal(&mut self, entries: usize) {
        for (index, block) in self.0.iter_mut().enumerate() {
            block.count = cursor::fill(entries, index, N) as u64;
        }
    }

    /// The address of the first block; 0 if there is none.
    pub(crate) fn head_pa(&self) -> u64 {
        self.0.first().map_or(0, |block| block.phys().0)
    }
}

/// The blocks of an incoming set, claimed one after the other.
///
/// A failure for lack of memory loses nothing: a later [`load`](Self::load) goes on from there.
/// Dropping the set frees the claimed blocks.
pub(crate) struct IncomingBlocks<E: FromBytes, const N: usize> {
    next_pa: u64,
    blocks: KVVec<Restored<Block<E, N>>>,
}

impl<E: FromBytes + Copy, const N: usize> IncomingBlocks<E, N> {
    /// The set that begins at `head_pa`; empty if that is 0.
    pub(crate) const fn new(head_pa: u64) -> Self {
        Self {
            next_pa: head_pa,
            blocks: KVVec::new(),
        }
    }

    /// Claims all blocks.
    ///
    /// A chain cannot be cyclic, nor share a block with another: a page is claimed once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: may be repeated. `EINVAL`: the chain is broken.
    pub(crate) fn load(&mut self) -> Result {
        while self.next_pa != 0 {
            if self.blocks.len() == MAX_BLOCKS {
                return Err(EINVAL);
            }
            self.blocks.reserve(1, GFP_KERNEL)?;
            let block: Restored<Block<E, N>> = Restored::claim(PhysAddr(self.next_pa))?;
            let (next_pa, count) = (block.next_pa, block.count);
            // Kept in any case: what is broken may be somebody else's memory, and is not freed.
            self.blocks.push(block, GFP_KERNEL)?;
            // The C code can write an empty last block, so 0 is no reason to refuse.
            if count > N as u64 {
                return Err(EINVAL);
            }
            self.next_pa = next_pa;
        }
        Ok(())
    }

    /// How many blocks are claimed.
    pub(crate) fn pages(&self) -> usize {
        self.blocks.len()
    }

    /// The entries of all loaded blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = E> + '_ {
        self.blocks
            .iter()
            .flat_map(|block| block.entries.iter().take(block.count as usize).copied())
    }
}
