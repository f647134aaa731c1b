// SPDX-License-Identifier: GPL-2.0-only

//! Locks, references, and what is set once.

mod arc;
pub mod aref;
pub mod atomic;
pub(crate) mod lockdep;
mod mutex;
pub mod rwsem;
mod set_once;

pub use self::{
    arc::Arc,
    mutex::{Guard, Mutex},
    set_once::SetOnce,
};
