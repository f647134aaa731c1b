// SPDX-License-Identifier: GPL-2.0-only

//! Reader-writer semaphores.

use super::lockdep::Held;
use crate::backend::Turns;
use core::marker::PhantomPinned;
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
    turns: Turns,
    data: RwLock<T>,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> RwSem<T> {
    /// Creates an initialiser; use [`new_rwsem!`](crate::new_rwsem).
    pub fn new(data: T, class: &'static str) -> impl PinInit<Self> {
        pin_init!(Self {
            class,
            turns: Turns::new(),
            data: RwLock::new(data),
            _pin: PhantomPinned,
        })
    }

    /// Waits until no writer holds the semaphore, and takes it for reading.
    pub fn read(&self) -> ReadGuard<'_, T> {
        Held::acquire(self.class, self, || {
            let turn = self.turns.shared();
            let data = self.data.read();
            (data.unwrap_or_else(PoisonError::into_inner), turn)
        })
    }

    /// Waits until nobody else holds the semaphore, and takes it for writing.
    pub fn write(&self) -> WriteGuard<'_, T> {
        Held::acquire(self.class, self, || {
            let turn = self.turns.alone();
            let data = self.data.write();
            (data.unwrap_or_else(PoisonError::into_inner), turn)
        })
    }
}

/// Shared access to what an [`RwSem`] protects.
pub type ReadGuard<'a, T> = Held<'a, RwLockReadGuard<'a, T>>;

/// Exclusive access to what an [`RwSem`] protects.
pub type WriteGuard<'a, T> = Held<'a, RwLockWriteGuard<'a, T>>;
