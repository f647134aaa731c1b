// SPDX-License-Identifier: GPL-2.0-only

//! The gate between changes and serialization.
//!
//! Whoever changes what is preserved goes through the gate; serialization closes it, waits until
//! all who are inside are out, and leaves it closed for ever if it succeeds. Nobody touches user
//! memory inside the gate, so the wait is bounded by the kernel's own work.

use kernel::{
    new_rwsem,
    prelude::*,
    sync::rwsem::{ReadGuard, RwSem, WriteGuard},
};

/// Whether changes are still possible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The next kernel owns what is preserved.
    HandedOver,
}

/// The gate.
#[pin_data]
pub(crate) struct Gate {
    #[pin]
    state: RwSem<State>,
}

/// The right to make changes.
pub(crate) struct Entered<'a>(#[expect(dead_code, reason = "held, not read")] ReadGuard<'a, State>);

/// The gate, closed, with nobody inside. Dropping it opens the gate again.
pub(crate) struct Closed<'a>(WriteGuard<'a, State>);

impl Gate {
    /// An open gate.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_rwsem!(State::Open, "luo_gate"),
        })
    }

    /// Goes in. May sleep while a serialization is tried.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` once the sessions are handed over: at once, and for ever.
    pub(crate) fn enter(&self) -> Result<Entered<'_>> {
        let state = self.state.read();
        match *state {
            State::Open => Ok(Entered(state)),
            State::HandedOver => Err(shutdown()),
        }
    }

    /// Whether the sessions are handed over.
    pub(crate) fn is_handed_over(&self) -> bool {
        *self.state.read() == State::HandedOver
    }

    /// Closes the gate and waits until nobody is inside.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` if the sessions are handed over already.
    pub(crate) fn close(&self) -> Result<Closed<'_>> {
        let state = self.state.write();
        match *state {
            State::Open => Ok(Closed(state)),
            State::HandedOver => Err(shutdown()),
        }
    }
}

impl Closed<'_> {
    /// Leaves the gate closed for ever.
    pub(crate) fn hand_over(mut self) {
        *self.0 = State::HandedOver;
    }
}

/// "Cannot send after transport endpoint shutdown": the kernel is about to be replaced. The
/// `kernel` crate has no name for it.
fn shutdown() -> Error {
    Error::from_errno(-108)
}
