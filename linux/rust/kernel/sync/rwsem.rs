// SPDX-License-Identifier: GPL-2.0-only

//! Reader-writer semaphores.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use crate::{
    bindings,
    prelude::*,
    str::CStr,
    sync::LockClassKey,
    types::{NotThreadSafe, Opaque},
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ops::{Deref, DerefMut},
};

/// Creates an initialiser for an [`RwSem`] with its own lockdep class.
#[macro_export]
macro_rules! new_rwsem {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::rwsem::RwSem::new(
            $inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}
pub use new_rwsem;

/// A sleeping lock that any number of readers, or one writer, hold at a time.
///
/// A waiting writer keeps new readers out, so a task must not take the same semaphore for reading
/// twice.
///
/// # Invariants
///
/// `state` is an initialised `struct rw_semaphore`.
#[pin_data]
pub struct RwSem<T> {
    #[pin]
    state: Opaque<bindings::rw_semaphore>,
    #[pin]
    _pin: PhantomPinned,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore moves with the data it protects; nothing in it is bound to a task.
unsafe impl<T: Send> Send for RwSem<T> {}

// SAFETY: Readers share `&T` (hence `Sync`), the one writer has `&mut T` (hence `Send`).
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// Creates an initialiser; use [`new_rwsem!`].
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            data: UnsafeCell::new(data),
            _pin: PhantomPinned,
            // SAFETY: `slot` is valid for writes while the closure runs; `name` and `key` are
            // static.
            state <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Waits until no writer holds or awaits the semaphore, and takes it for reading. May sleep.
    pub fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: By the type invariant the semaphore is initialised.
        unsafe { bindings::down_read(self.state.get()) };
        ReadGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Waits until nobody else holds the semaphore, and takes it for writing. May sleep.
    pub fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: By the type invariant the semaphore is initialised.
        unsafe { bindings::down_write(self.state.get()) };
        WriteGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// Shared access to what an [`RwSem`] protects.
#[must_use = "the semaphore is released at once when the guard is unused"]
pub struct ReadGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Held for reading, so there is no writer while the guard lives.
        unsafe { &*self.sem.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard exists, so this task holds the semaphore for reading.
        unsafe { bindings::up_read(self.sem.state.get()) };
    }
}

/// Exclusive access to what an [`RwSem`] protects.
#[must_use = "the semaphore is released at once when the guard is unused"]
pub struct WriteGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Held for writing, so nobody else has access while the guard lives.
        unsafe { &*self.sem.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Held for writing, so nobody else has access while the guard lives.
        unsafe { &mut *self.sem.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard exists, so this task holds the semaphore for writing.
        unsafe { bindings::up_write(self.sem.state.get()) };
    }
}
