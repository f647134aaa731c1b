// SPDX-License-Identifier: GPL-2.0-only

//! Who decides which task runs next: the operating system, or a scheduler that tries many orders.
//!
//! As a rule tasks are threads, and wait for a lock as threads do. With the feature `shuttle` they
//! are what [shuttle] spawns: they take turns on one thread, and change only at a [`point`]. Every
//! lock and every atomic has one before it is taken or accessed. Apart from that a lock is the same
//! in both cases: one of `std`, with a [`Turns`] in front of it.
//!
//! [shuttle]: https://docs.rs/shuttle

#[cfg(feature = "shuttle")]
mod scheduled;
#[cfg(feature = "shuttle")]
pub(crate) use self::scheduled::{Turn, Turns, task_local};
#[cfg(feature = "shuttle")]
pub use self::scheduled::{is_leaving, point};

#[cfg(not(feature = "shuttle"))]
mod threads;
#[cfg(not(feature = "shuttle"))]
pub use self::threads::point;
#[cfg(not(feature = "shuttle"))]
pub(crate) use self::threads::{Turn, Turns, task_local};
