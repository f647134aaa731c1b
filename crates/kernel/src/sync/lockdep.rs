// SPDX-License-Identifier: GPL-2.0-only

//! Finds locks that are taken in different orders, twice by one task, or held where they must not
//! be. As in the kernel, one run of each order is enough; they need not meet. A finding panics.

use crate::backend::{Turn, task_local};
use core::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// A lock: its class, which is its name, and its address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lock {
    class: &'static str,
    addr: usize,
}

task_local! {
    static HELD: RefCell<Vec<Lock>> = const { RefCell::new(Vec::new()) };
}

/// Pairs of classes, in the order in which some task has taken them.
static ORDERS: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());

/// The guard of a lock that this task holds.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct Held<'a, G> {
    // The order is that in which they are dropped.
    guard: G,
    _turn: Turn<'a>,
    _note: Note,
}

impl<'a, G> Held<'a, G> {
    /// Takes a lock, by `wait`.
    pub(super) fn acquire<T>(
        class: &'static str,
        lock: &T,
        wait: impl FnOnce() -> (G, Turn<'a>),
    ) -> Self {
        let note = Note::of(class, lock);
        let (guard, turn) = wait();
        Self {
            guard,
            _turn: turn,
            _note: note,
        }
    }
}

impl<G: Deref> Deref for Held<'_, G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Held<'_, G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// The note that this task holds a lock, until it is dropped.
struct Note(Lock);

impl Note {
    /// To be made before waiting for the lock.
    fn of<T>(class: &'static str, lock: &T) -> Self {
        let lock = Lock {
            class,
            addr: core::ptr::from_ref(lock).addr(),
        };
        HELD.with(|held| {
            let mut held = held.borrow_mut();
            for earlier in held.iter() {
                lock.check_after(*earlier);
            }
            held.push(lock);
        });
        Self(lock)
    }
}

impl Lock {
    fn check_after(self, earlier: Self) {
        let (first, second) = (earlier.class, self.class);
        assert!(
            first != second,
            "lockdep: {second} is taken while one of its class is held"
        );
        let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        orders.insert((first, second));
        assert!(
            !orders.contains(&(second, first)),
            "lockdep: {second} is taken after {first}, and before it elsewhere"
        );
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        HELD.with(|held| held.borrow_mut().retain(|it| *it != self.0));
    }
}

/// Notes an access to user memory, which can block for ever.
pub(crate) fn might_fault() {
    HELD.with(|held| {
        let classes: Vec<_> = held.borrow().iter().map(|it| it.class).collect();
        assert!(
            classes.is_empty(),
            "lockdep: user memory is accessed with {classes:?} held"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::{Note, might_fault};

    #[test]
    #[should_panic(expected = "test_b is taken after test_a, and before it elsewhere")]
    fn two_orders_are_found_although_they_never_meet() {
        drop((Note::of("test_b", &0), Note::of("test_a", &0)));
        let _a = Note::of("test_a", &0);
        let _b = Note::of("test_b", &0);
    }

    #[test]
    #[should_panic(expected = "test_twice is taken while one of its class is held")]
    fn a_task_that_would_wait_for_itself_is_found() {
        let _first = Note::of("test_twice", &0);
        let _second = Note::of("test_twice", &0);
    }

    #[test]
    #[should_panic(expected = "user memory is accessed with [\"test_fault\"] held")]
    fn user_memory_under_a_lock_is_found() {
        let _held = Note::of("test_fault", &0);
        might_fault();
    }
}
