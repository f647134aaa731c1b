// SPDX-License-Identifier: GPL-2.0-only

//! Mutexes.

use super::lockdep::Held;
use crate::backend::Turns;
use core::marker::PhantomPinned;
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
    turns: Turns,
    data: sync::Mutex<T>,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> Mutex<T> {
    /// Creates an initialiser; use [`new_mutex!`](crate::new_mutex).
    pub fn new(data: T, class: &'static str) -> impl PinInit<Self> {
        pin_init!(Self {
            class,
            turns: Turns::new(),
            data: sync::Mutex::new(data),
            _pin: PhantomPinned,
        })
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> Guard<'_, T> {
        Held::acquire(self.class, self, || {
            let turn = self.turns.alone();
            let data = self.data.lock();
            (data.unwrap_or_else(PoisonError::into_inner), turn)
        })
    }
}

/// Access to what a [`Mutex`] protects.
pub type Guard<'a, T> = Held<'a, MutexGuard<'a, T>>;
