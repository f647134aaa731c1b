// SPDX-License-Identifier: GPL-2.0-only

//! Counted references to pinned values.

use crate::{
    alloc::{Flags, try_alloc},
    error::{Error, Result},
};
use core::ops::Deref;
use pinned_init::PinInit;
use std::sync;

/// A counted reference. The value is pinned.
pub struct Arc<T>(sync::Arc<T>);

impl<T> Arc<T> {
    /// Makes the value in place.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or the initialiser's.
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        try_alloc(flags)?;
        let mut uninit = sync::Arc::<T>::new_uninit();
        let slot = sync::Arc::get_mut(&mut uninit).expect("a new reference is the only one");
        // SAFETY: The slot is valid for writes; if this fails it is only freed. The value does not
        // move any more: an `Arc` never gives out `&mut T`, nor the value itself.
        unsafe { init.__pinned_init(slot.as_mut_ptr()) }?;
        // SAFETY: The initialiser has succeeded, so the value is complete.
        Ok(Self(unsafe { uninit.assume_init() }))
    }

    /// Whether both refer to the same value.
    #[must_use]
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
