// SPDX-License-Identifier: GPL-2.0-only

//! Reader-writer semaphores.

use super::lockdep::{self, Held};
use core::{
    marker::PhantomPinned,
    ops::{Deref, DerefMut},
};
use pinned_init::{PinInit, pin_data, pin_init};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Creates an initialiser for an [`RwSem`] with its own lockdep class.
#[macro_export]
macro_rules! new_rwsem {
    ($inner:expr, $name:literal) => {
        $crate::sync::rwsem::RwSem::new($inner, $name)
    };
}

/// A lock that any number of readers, or one writer, hold at a time. It must not move.
///
/// A waiting writer keeps new readers out, so a task must not take the same semaphore for reading
/// twice.
#[pin_data]
pub struct RwSem<T> {
    class: &'static str,
    data: RwLock<T>,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> RwSem<T> {
    /// Creates an initialiser; use [`new_rwsem!`](crate::new_rwsem).
    pub fn new(data: T, class: &'static str) -> impl PinInit<Self> {
        pin_init!(Self {
            class,
            data: RwLock::new(data),
            _pin: PhantomPinned,
        })
    }

    /// Waits until no writer holds the semaphore, and takes it for reading.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = lockdep::acquire(self.class, self);
        ReadGuard {
            data: self.data.read().unwrap_or_else(PoisonError::into_inner),
            _held: held,
        }
    }

    /// Waits until nobody else holds the semaphore, and takes it for writing.
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = lockdep::acquire(self.class, self);
        WriteGuard {
            data: self.data.write().unwrap_or_else(PoisonError::into_inner),
            _held: held,
        }
    }
}

/// Shared access to what an [`RwSem`] protects.
#[must_use = "the semaphore is released at once when the guard is unused"]
pub struct ReadGuard<'a, T> {
    data: RwLockReadGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// Exclusive access to what an [`RwSem`] protects.
#[must_use = "the semaphore is released at once when the guard is unused"]
pub struct WriteGuard<'a, T> {
    data: RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
