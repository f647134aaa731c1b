// SPDX-License-Identifier: GPL-2.0-only

//! The way through the previous kernel's tree.

use crate::key;
use kernel::kho::{
    boot::{Memory, Table},
    extent::Extent,
    PhysAddr,
};

/// The size of a page, and so of a node.
const PAGE_SIZE: u64 = size_of::<Table>() as u64;

/// Who is told what is in a tree.
pub(crate) trait Visitor {
    /// The tree has a node in this page.
    fn node(&mut self, pfn: u64) {
        let _ = pfn;
    }

    /// The tree has an extent, whose pages may be anything. Those of an order come one after the other, in the
    /// order of their addresses; higher orders come first.
    fn extent(&mut self, extent: Extent);

    /// The tree has an entry that stands for nothing.
    fn broken(&mut self);
}

/// Goes through a tree, whose root is said to be at `root`.
///
/// A place in the tree has one way to it, and those where there can be no extents are left out: however its
/// nodes point to each other, the walk ends after a number of steps that the size of memory bounds.
pub(crate) fn walk(memory: &Memory, root: PhysAddr, visitor: &mut impl Visitor) {
    let end = memory.end();
    let mut walk = Walk {
        memory,
        end,
        visitor,
    };
    walk.descend(root.0, key::DEPTH - 1, 0);
}

struct Walk<'a, V> {
    memory: &'a Memory,
    end: u64,
    visitor: &'a mut V,
}

impl<V: Visitor> Walk<'_, V> {
    fn descend(&mut self, pa: u64, level: u32, first: u64) {
        let pfn = pa / PAGE_SIZE;
        let table = self.memory.table(pfn);
        let Some(table) = table.filter(|_| pa & (PAGE_SIZE - 1) == 0) else {
            return self.visitor.broken();
        };
        self.visitor.node(pfn);
        if level == 0 {
            return self.leaf(table, first);
        }
        let below = level - 1;
        for (index, entry) in (0_u64..).zip(table) {
            if *entry == 0 {
                continue;
            }
            let first = first | index << key::bits(below);
            if key::may_hold(first, below, self.end) {
                self.descend(*entry, below, first);
            } else {
                self.visitor.broken();
            }
        }
    }

    fn leaf(&mut self, words: &[u64], first: u64) {
        for (index, word) in (0_u64..).zip(words) {
            let mut bits = *word;
            while bits != 0 {
                let key = first | (index * 64) | u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                match key::decode(key) {
                    Some(extent) => self.visitor.extent(extent),
                    None => self.visitor.broken(),
                }
            }
        }
    }
}
