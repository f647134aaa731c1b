// SPDX-License-Identifier: GPL-2.0-only

//! More memory for the kernel that boots.

use crate::walk::{walk, Visitor};
use core::ops::Range;
use kernel::{
    kho::{
        boot::{Bitmap, Memory},
        extent::Extent,
        PhysAddr,
    },
    prelude::*,
};

/// Memory is given in pieces of 1 GiB (binary logarithm of pages).
const PIECE_ORDER: u32 = 18;

struct Finder {
    end: u64,
    /// The pieces with something in them that has to stay.
    busy: Bitmap,
}

impl Visitor for Finder {
    fn node(&mut self, pfn: u64) {
        self.busy.set(pfn >> PIECE_ORDER);
    }

    fn extent(&mut self, extent: Extent) {
        // Of an extent that is nowhere only a little has to be looked at.
        let pfns = extent.pages();
        let end = pfns.end.min(self.end);
        if pfns.start < end {
            (pfns.start >> PIECE_ORDER..=(end - 1) >> PIECE_ORDER).for_each(|it| self.busy.set(it));
        }
    }

    fn broken(&mut self) {}
}

/// The ranges of pages in which neither an extent of the tree at `root` lies nor a part of the tree.
///
/// # Errors
///
/// `ENOMEM`.
pub fn find(memory: &Memory, root: PhysAddr) -> Result<impl Iterator<Item = Range<u64>>> {
    let end = memory.end();
    let busy = Bitmap::new((end >> PIECE_ORDER) + 1)?;
    let mut finder = Finder { end, busy };
    walk(memory, root, &mut finder);
    let mut next = Some(0);
    Ok(core::iter::from_fn(move || loop {
        let start = next?;
        if start >= end {
            return None;
        }
        let piece = finder.busy.next(start >> PIECE_ORDER);
        let busy = piece.map_or(end, |it| (it << PIECE_ORDER).min(end));
        next = piece.map(|it| (it + 1) << PIECE_ORDER);
        if start < busy {
            return Some(start..busy);
        }
    }))
}
