// SPDX-License-Identifier: GPL-2.0-only

//! Ordered maps whose nodes are allocated apart, so that inserting cannot fail.

use crate::alloc::{AllocError, Flags, try_alloc};
use core::marker::PhantomData;
use std::collections::{BTreeMap, btree_map};

/// An ordered map.
#[derive(Debug)]
pub struct RBTree<K, V>(BTreeMap<K, V>);

/// Memory for a node.
pub struct RBTreeNodeReservation<K, V>(PhantomData<(K, V)>);

/// A node that is in no tree.
pub struct RBTreeNode<K, V>(Box<(K, V)>);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Takes the memory.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn new(flags: Flags) -> Result<Self, AllocError> {
        try_alloc(flags)?;
        Ok(Self(PhantomData))
    }

    /// Fills it.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(Box::new((key, value)))
    }
}

impl<K, V> RBTree<K, V> {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }
}

impl<K: Ord, V> RBTree<K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// Adds `node`; gives back the one that had the same key.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let (key, value) = *node.0;
        let replaced = self.remove_node(&key);
        self.0.insert(key, value);
        replaced
    }

    /// Takes the node of `key` out.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        let node = self.0.remove_entry(key)?;
        Some(RBTreeNode(Box::new(node)))
    }

    /// Takes the value of `key` out and frees its node.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// A cursor at the first node whose key is not less than `key`.
    pub fn cursor_lower_bound_mut(&mut self, key: &K) -> Option<CursorMut<'_, K, V>> {
        // Linear, unlike the original, which costs tests nothing.
        let behind = self.0.range(key..).count().checked_sub(1)?;
        let mut before = self.0.iter_mut();
        let current = before.nth_back(behind)?;
        Some(CursorMut { before, current })
    }
}

impl<K, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in a tree.
pub struct CursorMut<'a, K, V> {
    before: btree_map::IterMut<'a, K, V>,
    current: (&'a K, &'a mut V),
}

impl<K, V> CursorMut<'_, K, V> {
    /// The node there.
    #[must_use]
    pub fn current(&self) -> (&K, &V) {
        (self.current.0, self.current.1)
    }

    /// The place before this one; `None` at the first.
    #[must_use]
    pub fn move_prev(mut self) -> Option<Self> {
        self.current = self.before.next_back()?;
        Some(self)
    }
}
