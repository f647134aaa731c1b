// SPDX-License-Identifier: GPL-2.0-only

//! Finds locks that are taken in different orders, twice by one task, or held where they must not
//! be. As in the kernel, one run of each order is enough; they need not meet. A finding panics.

use core::cell::RefCell;
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

thread_local! {
    static HELD: RefCell<Vec<Lock>> = const { RefCell::new(Vec::new()) };
}

/// Pairs of classes, in the order in which some task has taken them.
static ORDERS: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());

/// A lock that this task holds. Dropping it notes the release.
pub(super) struct Held(Lock);

/// Notes, before waiting for it, that the task takes a lock.
pub(super) fn acquire<T>(class: &'static str, lock: &T) -> Held {
    let lock = Lock {
        class,
        addr: core::ptr::from_ref(lock).addr(),
    };
    HELD.with_borrow_mut(|held| {
        for earlier in held.iter() {
            assert!(
                earlier.class != class,
                "lockdep: {class} is taken while one of its class is held"
            );
            let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
            orders.insert((earlier.class, class));
            assert!(
                !orders.contains(&(class, earlier.class)),
                "lockdep: {class} is taken after {}, and before it elsewhere",
                earlier.class
            );
        }
        held.push(lock);
    });
    Held(lock)
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| held.retain(|it| *it != self.0));
    }
}

/// Notes an access to user memory, which can block for ever.
pub(crate) fn might_fault() {
    HELD.with_borrow(|held| {
        let classes: Vec<_> = held.iter().map(|it| it.class).collect();
        assert!(
            classes.is_empty(),
            "lockdep: user memory is accessed with {classes:?} held"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::{acquire, might_fault};

    #[test]
    #[should_panic(expected = "test_b is taken after test_a, and before it elsewhere")]
    fn two_orders_are_found_although_they_never_meet() {
        drop((acquire("test_b", &0), acquire("test_a", &0)));
        let _a = acquire("test_a", &0);
        let _b = acquire("test_b", &0);
    }

    #[test]
    #[should_panic(expected = "test_twice is taken while one of its class is held")]
    fn a_task_that_would_wait_for_itself_is_found() {
        let _first = acquire("test_twice", &0);
        let _second = acquire("test_twice", &0);
    }

    #[test]
    #[should_panic(expected = "user memory is accessed with [\"test_fault\"] held")]
    fn user_memory_under_a_lock_is_found() {
        let _held = acquire("test_fault", &0);
        might_fault();
    }
}
