// SPDX-License-Identifier: GPL-2.0-only

//! What the previous kernel preserved is marked and kept.

use crate::walk::{walk, Visitor};
use core::ops::Range;
use kernel::{
    fmt,
    kho::{
        boot::{Area, Kept, Memory, Unreleased, Usage, BLOCK_ORDER, MAX_KEPT},
        extent::Extent,
        mark::{mark, CLAIMABLE, LOST},
        PhysAddr,
    },
    prelude::*,
};

/// The most ranges that memblock is told of: its cost is quadratic in them. Those that a hole in memory
/// divides need more places.
const MAX_RUNS: usize = MAX_KEPT / 2;

/// Blocks in the largest group (binary logarithm): all memory there can be.
const MAX_GROUP: u32 = 40;

/// The order that a mark tells.
fn order(mark: u64) -> u8 {
    mark as u8
}

/// What became of the extents of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Extents that can be claimed.
    pub extents: u64,
    /// Their pages.
    pub pages: u64,
    /// Extents that are no memory, or none that this kernel knew when it booted.
    pub absent: u64,
    /// Extents in memory that the kernel that boots allocates.
    pub scratch: u64,
    /// Extents in memory that somebody has already.
    pub used: u64,
    /// Extents that go beyond memory that is free.
    pub crossing: u64,
    /// Entries of the tree that stand for nothing.
    pub broken: u64,
    /// Pages that are kept, with those that will be released.
    pub kept: u64,
    /// Ranges that are kept.
    pub runs: u64,
    /// Pages that could not be kept: what was preserved in them is lost.
    pub unkept: u64,
}

impl Tally {
    /// What is lost, and why: the number of it is zero if nothing is.
    fn losses(&self) -> [(u64, &'static str); 5] {
        [
            (
                self.absent,
                "extents are not in the memory that this kernel booted with",
            ),
            (self.scratch, "extents lie where this kernel allocates"),
            (self.crossing, "extents reach beyond free memory"),
            (self.broken, "entries of the tree stand for nothing"),
            (self.unkept, "pages cannot be kept for lack of memory"),
        ]
    }

    /// Says in the kernel's log what became of the extents.
    pub fn report(&self) {
        pr_info!(
            "{} pages preserved in {} extents; {} pages kept in {} ranges\n",
            self.pages,
            self.extents,
            self.kept,
            self.runs
        );
        for (number, what) in self.losses().iter().filter(|it| it.0 > 0) {
            pr_err!("{} {}: what was there is lost\n", number, what);
        }
        if self.used > 0 {
            pr_info!("{} extents are in use already\n", self.used);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} extents", self.extents)?;
        writeln!(f, "{} pages", self.pages)?;
        writeln!(f, "{} pages kept while the kernel booted", self.kept)?;
        let mut losses = self.losses().into_iter();
        losses.try_for_each(|(number, what)| writeln!(f, "{number} {what}"))
    }
}

struct Marker<'a> {
    memory: &'a Memory,
    /// Where the extent before was.
    area: Area,
    tally: Tally,
}

impl Marker<'_> {
    fn refuse(&mut self, pfn: u64) {
        let counter = match self.memory.usage(pfn) {
            _ if self.area.is_free => &mut self.tally.crossing,
            Usage::Absent => &mut self.tally.absent,
            Usage::Scratch => &mut self.tally.scratch,
            Usage::Used => &mut self.tally.used,
        };
        *counter += 1;
    }
}

impl Visitor for Marker<'_> {
    fn extent(&mut self, extent: Extent) {
        let Range { start: pfn, end } = extent.pages();
        if !self.area.pfns.contains(&pfn) {
            self.area = self.memory.area(pfn);
        }
        if !self.area.is_free || end > self.area.pfns.end {
            return self.refuse(pfn);
        }
        for block in pfn >> BLOCK_ORDER..=(end - 1) >> BLOCK_ORDER {
            self.memory.touch(block);
        }
        // Higher orders come first: what is there is the larger one.
        match self.memory.mark(pfn) {
            0 => self.memory.set_mark(pfn, mark(CLAIMABLE, extent.order())),
            larger => self.memory.set_mark(pfn, mark(LOST, order(larger))),
        }
        self.tally.extents += 1;
        self.tally.pages += extent.nr_pages();
    }

    fn broken(&mut self) {
        self.tally.broken += 1;
    }
}

/// Marks the extents of the tree at `root`, and keeps the memory around them.
///
/// # Errors
///
/// `ENOMEM`: nothing is kept.
pub fn restore(memory: &Memory, root: PhysAddr) -> Result<(Kept, Tally)> {
    let mut kept = Kept::new()?;
    let mut marker = Marker {
        memory,
        area: memory.area(0),
        tally: Tally::default(),
    };
    walk(memory, root, &mut marker);
    let mut tally = marker.tally;
    // What is fragmented beyond measure is kept in larger pieces.
    let group = (0..MAX_GROUP).find(|it| runs(memory, *it).take(MAX_RUNS + 1).count() <= MAX_RUNS);
    for run in runs(memory, group.unwrap_or(MAX_GROUP)) {
        keep(memory, run, &mut kept, &mut tally);
    }
    Ok((kept, tally))
}

/// Neighbouring blocks that are touched, in groups of 2^`group` blocks.
fn runs(memory: &Memory, group: u32) -> impl Iterator<Item = Range<u64>> + '_ {
    let mut next = memory.touched().next(0);
    core::iter::from_fn(move || {
        let start = next? >> group;
        let mut end = start;
        while let Some(block) = next.filter(|it| it >> group <= end) {
            end = end.max((block >> group) + 1);
            // Within a group there is nothing more to learn.
            next = memory.touched().next((block + 1).max(end << group));
        }
        Some(start << group..end << group)
    })
}

fn keep(memory: &Memory, blocks: Range<u64>, kept: &mut Kept, tally: &mut Tally) {
    let (mut pfn, end) = (blocks.start << BLOCK_ORDER, blocks.end << BLOCK_ORDER);
    while pfn < end {
        let area = memory.area(pfn);
        let piece = pfn..end.min(area.pfns.end);
        pfn = piece.end;
        if !area.is_free {
            continue;
        }
        for block in piece.start >> BLOCK_ORDER..=(piece.end - 1) >> BLOCK_ORDER {
            memory.touch(block);
        }
        let nr_pages = piece.end - piece.start;
        match kept.keep(memory, piece.clone()) {
            Err(err) if err != ENOSPC => {
                // Others will write there.
                piece.for_each(|pfn| memory.set_mark(pfn, 0));
                tally.unkept += nr_pages;
            }
            _ => {
                tally.kept += nr_pages;
                tally.runs += 1;
            }
        }
    }
}

/// What became of kept memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Pages that the allocator got.
    pub free: u64,
    /// Extents that lie in others, or have others in them.
    pub lost: u64,
    /// Pages of them, which nobody gets.
    pub leaked: u64,
}

/// Gives the allocator what is between extents.
pub fn release(mut range: Unreleased, released: &mut Released) {
    loop {
        let left = range.pfns();
        let pfn = range.find_mark(left.clone());
        released.free += pfn - left.start;
        range.free_until(pfn);
        if pfn >= left.end {
            return;
        }
        let found = range.mark(pfn);
        let end = pfn + (1 << order(found));
        let lost = mark(LOST, order(found));
        let mut inner = range.find_mark(pfn + 1..end);
        if found == lost || inner < end {
            range.set_mark(pfn, lost);
            released.lost += 1;
            released.leaked += end - pfn;
        }
        // Extents are aligned, so that what begins in this one also ends in it.
        while inner < end {
            range.set_mark(inner, mark(LOST, order(range.mark(inner))));
            released.lost += 1;
            inner = range.find_mark(inner + 1..end);
        }
        range.leave_until(end);
    }
}
