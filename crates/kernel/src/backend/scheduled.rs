// SPDX-License-Identifier: GPL-2.0-only

//! Tasks are shuttle's.

use core::cell::Cell;
use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};

/// What a task has to itself.
pub(crate) use shuttle::thread_local as task_local;

/// More than there will ever be tasks.
const ALL: usize = 1 << 16;

/// Who may come to a lock, in the order of their arrival: as with the kernel's semaphores, a writer
/// that waits keeps new readers out. That any order of arrival is possible is the scheduler's part.
pub(crate) struct Turns(BatchSemaphore);

/// The turn at a lock.
pub(crate) struct Turn<'a> {
    turns: &'a BatchSemaphore,
    places: usize,
}

impl Turns {
    pub(crate) const fn new() -> Self {
        Self(BatchSemaphore::const_new(ALL, Fairness::StrictlyFair))
    }

    /// Waits until nobody else is there.
    pub(crate) fn alone(&self) -> Turn<'_> {
        self.take(ALL)
    }

    /// Waits until nobody is there alone, nor waits to be.
    pub(crate) fn shared(&self) -> Turn<'_> {
        self.take(1)
    }

    fn take(&self, places: usize) -> Turn<'_> {
        let turns = &self.0;
        turns.acquire_blocking(places).expect("nobody closes it");
        Turn { turns, places }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        LEAVING.set(true);
        self.turns.release(self.places);
        LEAVING.set(false);
    }
}

std::thread_local! {
    static LEAVING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the task at the point is about to leave a lock. To change to another task there shows
/// nothing new: what that one does before it needs the lock could as well come after, and then it
/// waits.
#[must_use]
pub fn is_leaving() -> bool {
    LEAVING.get()
}

/// Here another task may run. Handlers have one in each of their calls, which may sleep.
pub fn point() {
    // Shuttle has no time. This is its call that allows a change of tasks and asks for nothing.
    shuttle::thread::sleep(core::time::Duration::ZERO);
}
