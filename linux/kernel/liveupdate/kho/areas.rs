// SPDX-License-Identifier: GPL-2.0-only

//! Scratch memory: what the next kernel loads and boots in. Nothing in it is preserved.

use core::ops::Range;
use kernel::{
    kho::{
        boot::BLOCK_ORDER,
        scratch::{Area, Place, Plan},
    },
    prelude::*,
};

const PAGE: u64 = 4096;

/// The areas are made of whole blocks: struct pages are initialised by them, and moveable memory is counted in them.
const ALIGN: u64 = PAGE << BLOCK_ORDER;

/// How large scratch areas are: `kho_scratch=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// So many percent of what this kernel has allocated until its allocator runs.
    Percent(u32),
    /// Bytes below 4 GiB, anywhere, and on each node.
    Fixed([u64; 3]),
}

impl Sizes {
    /// What there is without the parameter.
    pub const DEFAULT_PERCENT: u32 = 200;

    /// Parses `N%` or `LOW,ANY,NODE`, three sizes with a suffix or without.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is neither, or the sizes are nothing, or more than there can be.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().map(Self::Percent).map_err(|_| EINVAL);
        }
        let mut parts = text.split(',').map(size);
        let mut part = || parts.next().unwrap_or(Err(EINVAL));
        let sizes = [part()?, part()?, part()?];
        let total = sizes.iter().try_fold(0_u64, |sum, it| sum.checked_add(*it));
        match total {
            Some(1..) if parts.next().is_none() => Ok(Self::Fixed(sizes)),
            _ => Err(EINVAL),
        }
    }
}

/// A number of bytes: decimal, octal behind `0` or hexadecimal behind `0x`, with a suffix or without.
fn size(text: &str) -> Result<u64> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'0'..=b'7', ..] => (8, &text[1..]),
        _ => (10, text),
    };
    let end = digits.find(|it: char| !it.is_digit(radix));
    let (digits, suffix) = digits.split_at(end.unwrap_or(digits.len()));
    let shift = match suffix {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return Err(EINVAL),
    };
    let number = u64::from_str_radix(digits, radix).map_err(|_| EINVAL)?;
    number.checked_mul(1 << shift).ok_or(EINVAL)
}

fn percent(of: u64, percent: u32) -> u64 {
    of.saturating_mul(percent.into()) / 100
}

/// Reserves scratch areas: one in low memory, one anywhere, one on each node.
///
/// # Errors
///
/// `ENOMEM`: none is reserved.
pub fn reserve(plan: &mut Plan, sizes: Sizes) -> Result {
    let [low, any] = match sizes {
        Sizes::Percent(it) => {
            let low = percent(plan.allocated(Place::Low), it);
            let all = percent(plan.allocated(Place::Any), it);
            [low, all.saturating_sub(low)]
        }
        Sizes::Fixed([low, any, _]) => [low, any],
    };
    reserve_one(plan, Place::Low, low)?;
    reserve_one(plan, Place::Any, any)?;
    for node in plan.nodes() {
        let node = Place::Node(node);
        // The areas before count as allocated where they lie.
        let size = match sizes {
            Sizes::Percent(it) => percent(plan.allocated(node), it),
            Sizes::Fixed([_, _, size]) => size,
        };
        reserve_one(plan, node, size)?;
    }
    Ok(())
}

fn reserve_one(plan: &mut Plan, place: Place, size: u64) -> Result {
    let size = size.checked_next_multiple_of(ALIGN).ok_or(ENOMEM)?;
    plan.reserve(place, size, ALIGN)
}

/// Whether the areas of an array that the previous kernel wrote can be scratch memory, apart from some ranges of
/// addresses.
///
/// # Errors
///
/// What is wrong with them.
pub fn check(areas: &[Area], apart: &[Range<u64>]) -> Result<(), &'static str> {
    if areas.iter().all(|it| it.size == 0) {
        return Err("there is no scratch memory");
    }
    // An area of no bytes is where the previous kernel had no use for one.
    let areas = || areas.iter().filter(|it| it.size > 0);
    for (index, area) in areas().enumerate() {
        let Some(bytes) = range(area).filter(|it| it.end <= 1 << 52) else {
            return Err("a scratch area goes beyond all memory");
        };
        if (area.addr | area.size) % PAGE != 0 {
            return Err("a scratch area is not made of pages");
        }
        let others = areas().take(index).filter_map(range);
        if Iterator::chain(others, apart.iter().cloned()).any(|it| overlap(&it, &bytes)) {
            return Err("scratch areas overlap, or what is handed over lies in them");
        }
    }
    Ok(())
}

/// Whether areas have some of a range.
pub fn meet(areas: &[Area], bytes: &Range<u64>) -> bool {
    areas.iter().filter_map(range).any(|it| overlap(&it, bytes))
}

/// Where the next kernel leaves memory alone: where it boots with it, but does not allocate.
pub struct Free<'a> {
    memory: &'a [Area],
    scratch: &'a [Area],
    /// Such pages, around those that were looked at before.
    last: Range<u64>,
}

impl<'a> Free<'a> {
    /// Memory without scratch memory.
    pub fn new(memory: &'a [Area], scratch: &'a [Area]) -> Self {
        Self {
            memory,
            scratch,
            last: 0..0,
        }
    }

    /// Checks that some pages lie there in one piece.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the next kernel allocates there. `ENXIO`: it does not have that memory when it boots.
    #[inline]
    pub fn check(&mut self, pfns: &Range<u64>) -> Result {
        if !contains(&self.last, pfns) {
            let bytes = pfns.start.saturating_mul(PAGE)..pfns.end.saturating_mul(PAGE);
            let around = self.around(&bytes)?;
            self.last = around.start.div_ceil(PAGE)..around.end / PAGE;
        }
        Ok(())
    }

    #[cold]
    fn around(&self, bytes: &Range<u64>) -> Result<Range<u64>> {
        if meet(self.scratch, bytes) {
            return Err(EINVAL);
        }
        let mut memory = self.memory.iter().filter_map(range);
        let mut around = memory.find(|it| contains(it, bytes)).ok_or(ENXIO)?;
        for it in self.scratch.iter().filter_map(range) {
            match it.end <= bytes.start {
                true => around.start = around.start.max(it.end),
                false => around.end = around.end.min(it.start),
            }
        }
        Ok(around)
    }
}

#[inline]
fn contains(range: &Range<u64>, other: &Range<u64>) -> bool {
    range.start <= other.start && other.end <= range.end
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The bytes of an area, if it has any.
fn range(area: &Area) -> Option<Range<u64>> {
    let end = area.addr.checked_add(area.size)?;
    (area.size > 0).then_some(area.addr..end)
}
