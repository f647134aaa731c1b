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

/// The parts of an extent that have their bits in a leaf each.
#[inline]
fn parts(extent: Extent) -> impl Iterator<Item = Extent> {
    let order = extent.order().min(Leaf::ORDER);
    let nr = 1_u64 << (extent.order() - order);
    (0..nr).map(move |it| Extent::new(extent.pfn() + (it << order), order))
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

    /// Adds extents, each of which `may` has to let pass. May sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST`: pages of one are preserved already, or preserved twice here. `EINVAL`: one is not aligned. `ENOMEM`.
    /// Those of `may`. None is added then.
    pub fn insert(
        &mut self,
        extents: impl Iterator<Item = Extent> + Clone,
        mut may: impl FnMut(Extent) -> Result,
    ) -> Result {
        for (done, it) in extents.clone().enumerate() {
            if let Err(err) = self.insert_one(it, &mut may) {
                self.remove(extents.take(done));
                return Err(err);
            }
        }
        Ok(())
    }

    #[inline]
    fn insert_one(&self, extent: Extent, may: impl FnOnce(Extent) -> Result) -> Result {
        if extent.order() > MAX_ORDER || extent.pfn() & (extent.nr_pages() - 1) != 0 {
            return Err(EINVAL);
        }
        may(extent)?;
        let key = key::encode(extent);
        let leaf = self.tree.grow(key)?;
        match extent.order() <= Leaf::ORDER {
            true => self.take(extent)?,
            false => self.take_large(extent)?,
        }
        leaf.set(key, true);
        Ok(())
    }

    /// Takes pages whose bits are in one leaf.
    #[inline]
    fn take(&self, part: Extent) -> Result {
        self.pages.grow(part.pfn())?.take(part.pfn(), part.order())
    }

    #[cold]
    fn take_large(&self, extent: Extent) -> Result {
        for (done, it) in parts(extent).enumerate() {
            if let Err(err) = self.take(it) {
                parts(extent).take(done).for_each(|it| self.release(it));
                return Err(err);
            }
        }
        Ok(())
    }

    #[inline]
    fn release(&self, part: Extent) {
        if let Some(leaf) = self.pages.leaf(part.pfn()) {
            leaf.release(part.pfn(), part.order());
        }
    }

    /// Removes extents; returns how many of them are not there.
    pub fn remove(&mut self, extents: impl Iterator<Item = Extent>) -> usize {
        extents.filter(|it| !self.remove_one(*it)).count()
    }

    #[inline]
    fn remove_one(&self, extent: Extent) -> bool {
        if extent.order() > MAX_ORDER {
            return false;
        }
        let key = key::encode(extent);
        let Some(leaf) = self.tree.leaf(key).filter(|it| it.has(key)) else {
            return false;
        };
        leaf.set(key, false);
        parts(extent).for_each(|it| self.release(it));
        true
    }
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
