// SPDX-License-Identifier: GPL-2.0-only

//! Tasks are threads: nothing here does anything, since a lock of `std` knows how to wait.

use core::marker::PhantomData;

/// What a task has to itself.
pub(crate) use std::thread_local as task_local;

/// Who may come to a lock.
pub(crate) struct Turns;

/// The turn at a lock.
pub(crate) struct Turn<'a>(PhantomData<&'a Turns>);

impl Turns {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Waits until nobody else is there.
    pub(crate) const fn alone(&self) -> Turn<'_> {
        Turn(PhantomData)
    }

    /// Waits until nobody is there alone, nor waits to be.
    pub(crate) const fn shared(&self) -> Turn<'_> {
        Turn(PhantomData)
    }
}

/// Here another task may run. Handlers have one in each of their calls, which may sleep.
pub const fn point() {}
