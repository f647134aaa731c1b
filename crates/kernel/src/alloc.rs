// SPDX-License-Identifier: GPL-2.0-only

//! Fallible allocation. [`host::fail_allocation`](crate::host::fail_allocation) makes it fail.

use crate::host::machine;
use core::{
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
};

/// How to allocate. Here there is one way.
#[derive(Clone, Copy)]
pub struct Flags(());

/// The caller may sleep.
pub const GFP_KERNEL: Flags = Flags(());

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// There is no room for this element.
pub struct PushError<T>(pub T);

/// Every allocation of the simulated kernel asks here first.
pub(crate) fn try_alloc(_: Flags) -> Result<(), AllocError> {
    let succeeds = machine::current().failing_allocation.succeeds();
    succeeds.then_some(()).ok_or(AllocError)
}

/// A value in memory of its own.
#[derive(Debug)]
pub struct KBox<T>(pub(crate) Box<T>);

impl<T> KBox<T> {
    /// Memory for a value.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn new_uninit(flags: Flags) -> Result<KBox<MaybeUninit<T>>, AllocError> {
        try_alloc(flags)?;
        Ok(KBox(Box::new_uninit()))
    }

    /// The value; its memory is freed.
    #[must_use]
    pub fn into_inner(this: Self) -> T {
        *this.0
    }

    /// Moves `value` there.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; `value` is dropped.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        try_alloc(flags)?;
        Ok(Self(Box::new(value)))
    }
}

impl<T> KBox<MaybeUninit<T>> {
    /// Moves `value` there.
    #[must_use]
    pub fn write(this: Self, value: T) -> KBox<T> {
        KBox(Box::write(this.0, value))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A growable array. Whatever can take memory can fail.
#[derive(Debug)]
pub struct KVec<T>(Vec<T>);

/// The same: whether memory is contiguous makes no difference here.
pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    /// Nothing, and no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Nothing, and memory for `capacity` elements.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.reserve(capacity, flags)?;
        Ok(vec)
    }

    /// Makes sure that `additional` elements can be added without taking memory.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; nothing has changed.
    pub fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() < additional {
            try_alloc(flags)?;
            self.0.reserve(additional);
        }
        Ok(())
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    ///
    /// [`AllocError`]; `value` is dropped and nothing else has changed.
    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    /// Adds an element at the end, for which there is room already.
    ///
    /// # Errors
    ///
    /// [`PushError`] if there is none.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.0.len() == self.0.capacity() {
            return Err(PushError(value));
        }
        self.0.push(value);
        Ok(())
    }

    /// Drops all elements.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Drops what is behind the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Drops what `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(&mut keep);
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
