// SPDX-License-Identifier: GPL-2.0-only

//! Whatever the previous kernel left: what can be claimed, what is kept, and what the allocator gets.

mod areas;
mod chain;
mod extents;
mod hostile;
mod keys;
mod machine;
mod preserve;
mod scratch;
