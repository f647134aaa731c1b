// SPDX-License-Identifier: GPL-2.0-only

//! Scratch memory: what the next kernel loads and boots in.

use crate::error::{Result, code::*};
use std::collections::BTreeMap;

/// A range of scratch memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// Its first address.
    pub addr: u64,
    /// Its number of bytes.
    pub size: u64,
}

/// Where scratch memory is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Where any device gets at.
    Low,
    /// Anywhere.
    Any,
    /// On a node.
    Node(i32),
}

/// The areas of a kernel, while they are chosen.
pub struct Plan {
    /// What is allocated in a place, and how much is free there.
    pub places: BTreeMap<Place, (u64, u64)>,
    /// What was reserved.
    pub reserved: Vec<(Place, u64)>,
}

impl Plan {
    /// How many bytes the kernel has allocated in a place.
    #[must_use]
    pub fn allocated(&self, place: Place) -> u64 {
        self.places.get(&place).map_or(0, |it| it.0)
    }

    /// The nodes with memory.
    pub fn nodes(&self) -> impl Iterator<Item = i32> + use<> {
        let nodes = self.places.keys().filter_map(|it| match it {
            Place::Node(node) => Some(*node),
            _ => None,
        });
        nodes.collect::<Vec<_>>().into_iter()
    }

    /// Reserves an area, unless it has no bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Panics
    ///
    /// If the size is not a multiple of the alignment.
    pub fn reserve(&mut self, place: Place, size: u64, align: u64) -> Result {
        assert_eq!(size % align, 0);
        let (_, free) = self.places.get_mut(&place).ok_or(ENOMEM)?;
        *free = free.checked_sub(size).ok_or(ENOMEM)?;
        if size > 0 {
            self.reserved.push((place, size));
        }
        Ok(())
    }
}
