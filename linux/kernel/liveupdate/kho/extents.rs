// SPDX-License-Identifier: GPL-2.0-only

//! The extents that this kernel preserves for the next one. A page is preserved once, by one owner.

use crate::key::{self, DEPTH};
use core::ops::Range;
use kernel::{
    kho::{
        extent::Extent,
        node::{Leaf, Tree},
    },
    prelude::*,
};

/// The highest order of an extent: more memory there cannot be.
const MAX_ORDER: u8 = 40;

/// A set of extents, none of which lies in another.
pub struct Extents {
    /// What the next kernel gets.
    tree: Tree,
    /// A bit for each page of an extent. The tree alone tells only with a look at each order whether a page is preserved.
    pages: Tree,
}

/// The keys of some pages, leaf by leaf.
#[inline]
fn by_leaf(pfns: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut next = pfns.start;
    core::iter::from_fn(move || {
        let start = next;
        next = pfns.end.min((start | (Leaf::NR_BITS - 1)) + 1);
        (start < pfns.end).then_some(start..next)
    })
}

/// The bit of an extent.
#[inline]
fn bit(extent: Extent) -> Range<u64> {
    let key = key::encode(extent);
    key..key + 1
}

impl Extents {
    /// No extent. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            tree: Tree::new(DEPTH)?,
            pages: Tree::new(DEPTH)?,
        })
    }

    /// What the next kernel finds them in.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Adds extents. May sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST`: pages of one are preserved already, or preserved twice here. `EINVAL`: one is not aligned. `ENOMEM`.
    /// None is added then.
    pub fn insert(&mut self, extents: impl Iterator<Item = Extent> + Clone) -> Result {
        for (done, it) in extents.clone().enumerate() {
            if let Err(err) = self.insert_one(it) {
                self.remove(extents.take(done));
                return Err(err);
            }
        }
        Ok(())
    }

    #[inline]
    fn insert_one(&mut self, extent: Extent) -> Result {
        if extent.order() > MAX_ORDER || extent.pfn() & (extent.nr_pages() - 1) != 0 {
            return Err(EINVAL);
        }
        for keys in by_leaf(pages(extent)) {
            if self.pages.grow(keys.start)?.any(&keys) {
                return Err(EEXIST);
            }
        }
        let bit = bit(extent);
        self.tree.grow(bit.start)?.set(&bit, true);
        self.set_pages(extent, true);
        Ok(())
    }

    #[inline]
    fn set_pages(&mut self, extent: Extent, value: bool) {
        for keys in by_leaf(pages(extent)) {
            if let Some(leaf) = self.pages.leaf(keys.start) {
                leaf.set(&keys, value);
            }
        }
    }

    /// Removes extents; returns how many of them are not there.
    pub fn remove(&mut self, extents: impl Iterator<Item = Extent>) -> usize {
        extents.filter(|it| !self.remove_one(*it)).count()
    }

    #[inline]
    fn remove_one(&mut self, extent: Extent) -> bool {
        if extent.order() > MAX_ORDER {
            return false;
        }
        let bit = bit(extent);
        let leaf = self.tree.leaf(bit.start).filter(|it| it.any(&bit));
        if let Some(leaf) = leaf {
            leaf.set(&bit, false);
            self.set_pages(extent, false);
            return true;
        }
        false
    }
}

/// The pages of an extent.
pub fn pages(extent: Extent) -> Range<u64> {
    extent.pfn()..extent.pfn() + extent.nr_pages()
}

/// The extents of a range of pages, each of which lies on one node. `node` tells that of a page.
///
/// The range is the same later, and so are its extents.
pub fn split(
    pfns: Range<u64>,
    node: impl Fn(u64) -> i32 + Clone,
) -> impl Iterator<Item = Extent> + Clone {
    let mut next = pfns.start;
    core::iter::from_fn(move || {
        let left = pfns.end.checked_sub(next).filter(|it| *it > 0)?;
        let mut order = left.ilog2().min(next.trailing_zeros());
        while order > 0 && node(next) != node(next + (1 << order) - 1) {
            order -= 1;
        }
        let extent = Extent::new(next, order as u8);
        next += extent.nr_pages();
        Some(extent)
    })
}
