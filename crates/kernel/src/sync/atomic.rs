// SPDX-License-Identifier: GPL-2.0-only

//! Atomics. Of the original's many types LUO needs `bool` only.

use crate::backend;
use core::{
    marker::PhantomData,
    sync::atomic::{AtomicBool, Ordering},
};

/// A value that is read and written as a whole.
pub struct Atomic<T>(AtomicBool, PhantomData<T>);

/// Orderings are types, so that an operation takes only those that make sense for it.
pub mod ordering {
    /// What follows stays behind it.
    pub struct Acquire;
    /// What precedes stays before it.
    pub struct Release;
}

impl Atomic<bool> {
    /// With this value.
    #[must_use]
    pub const fn new(value: bool) -> Self {
        Self(AtomicBool::new(value), PhantomData)
    }

    /// Stores `value`; gives the one before.
    pub fn xchg(&self, value: bool, _: ordering::Acquire) -> bool {
        backend::point();
        self.0.swap(value, Ordering::Acquire)
    }

    /// Stores `value`.
    pub fn store(&self, value: bool, _: ordering::Release) {
        backend::point();
        self.0.store(value, Ordering::Release);
    }
}
