// SPDX-License-Identifier: GPL-2.0-only

//! What the previous kernel preserved is claimed.

use core::ops::Range;
use kernel::{
    kho::{
        extent::Extent,
        mark::{self, Account, Claimed},
    },
    prelude::*,
};

/// The extents that make up a range of pages, as they were preserved: those on two nodes are smaller than their
/// alignment lets expect.
///
/// # Errors
///
/// `EINVAL`: one is not there, or goes beyond the range.
pub fn extents(pfns: Range<u64>) -> impl Iterator<Item = Result<Extent>> {
    let mut next = pfns.start;
    core::iter::from_fn(move || {
        let left = pfns.end.checked_sub(next).filter(|it| *it > 0)?;
        let found = mark::find(next).filter(|it| it.nr_pages() <= left);
        next = found.map_or(pfns.end, |it| next + it.nr_pages());
        Some(found.ok_or(EINVAL))
    })
}

/// Claims a range of pages, as single ones with one reference of each.
///
/// # Errors
///
/// `EINVAL`: the range is not made up of extents that can be claimed. Nothing is claimed. `EBUSY`: somebody else claimed
/// part of it at the same time; the rest is lost.
pub fn claim_pages(pfns: Range<u64>) -> Result {
    extents(pfns.clone()).try_for_each(|it| it.map(drop))?;
    let mut account = Account::default();
    let mut next = pfns.start;
    while next < pfns.end {
        let claimed = Claimed::at(next).ok_or(EBUSY)?;
        account.add(claimed.extent());
        next += claimed.extent().nr_pages();
        claimed.into_pages();
    }
    Ok(())
}

/// Claims folios of an order up to `max_order` at `pfns`, and has `put` take each. Returns how many were there, one
/// after the other.
#[inline]
pub fn claim_folios<'a>(
    pfns: impl Iterator<Item = &'a u64>,
    max_order: u32,
    mut put: impl FnMut(Claimed),
) -> usize {
    let mut account = Account::default();
    let mut nr = 0;
    for pfn in pfns {
        let Some(claimed) = Claimed::at(*pfn) else {
            break;
        };
        if u32::from(claimed.extent().order()) > max_order {
            break;
        }
        account.add(claimed.extent());
        put(claimed);
        nr += 1;
    }
    nr
}
