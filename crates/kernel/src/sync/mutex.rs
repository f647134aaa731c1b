// SPDX-License-Identifier: GPL-2.0-only

//! Mutexes.

use super::lockdep::{self, Held};
use core::{
    marker::PhantomPinned,
    ops::{Deref, DerefMut},
};
use pinned_init::{PinInit, pin_data, pin_init};
use std::sync::{self, MutexGuard, PoisonError};

/// Creates an initialiser for a [`Mutex`] with its own lockdep class.
#[macro_export]
macro_rules! new_mutex {
    ($inner:expr, $name:literal) => {
        $crate::sync::Mutex::new($inner, $name)
    };
}

/// A lock that one task holds at a time. It must not move.
#[pin_data]
pub struct Mutex<T> {
    class: &'static str,
    data: sync::Mutex<T>,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> Mutex<T> {
    /// Creates an initialiser; use [`new_mutex!`](crate::new_mutex).
    pub fn new(data: T, class: &'static str) -> impl PinInit<Self> {
        pin_init!(Self {
            class,
            data: sync::Mutex::new(data),
            _pin: PhantomPinned,
        })
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> Guard<'_, T> {
        let held = lockdep::acquire(self.class, self);
        Guard {
            data: self.data.lock().unwrap_or_else(PoisonError::into_inner),
            _held: held,
        }
    }
}

/// Access to what a [`Mutex`] protects.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct Guard<'a, T> {
    data: MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
