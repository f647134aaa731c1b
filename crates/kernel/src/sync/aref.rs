// SPDX-License-Identifier: GPL-2.0-only

//! Owned references to values that count their references themselves.

use core::ops::Deref;
use std::sync::Arc;

/// A reference to a `T` that keeps it alive.
pub struct ARef<T>(Arc<T>);

impl<T> ARef<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for ARef<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for ARef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
