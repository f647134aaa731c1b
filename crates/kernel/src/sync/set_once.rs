// SPDX-License-Identifier: GPL-2.0-only

//! Statics that are set once, per simulated machine.

use crate::host::machine;
use core::{any::Any, marker::PhantomData};

/// A container that is populated at most once.
///
/// It must be a static. Its address is its name; each machine has a value of its own for it, which
/// is never dropped, as the value of a static is not.
pub struct SetOnce<T> {
    // Statics of size 0 can share an address.
    _has_an_address: u8,
    _value: PhantomData<T>,
}

impl<T: Any + Send + Sync> SetOnce<T> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            _has_an_address: 0,
            _value: PhantomData,
        }
    }

    fn name(&'static self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The value, if there is one.
    pub fn as_ref(&'static self) -> Option<&'static T> {
        let value = *machine::current().statics.lock().get(&self.name())?;
        value.downcast_ref()
    }

    /// Sets the value; returns whether there was none.
    pub fn populate(&'static self, value: T) -> bool {
        let machine = machine::current();
        let mut statics = machine.statics.lock();
        if statics.contains_key(&self.name()) {
            return false;
        }
        statics.insert(self.name(), Box::leak(Box::new(value)));
        true
    }
}

impl<T: Any + Send + Sync> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
