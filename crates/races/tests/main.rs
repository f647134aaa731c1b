// SPDX-License-Identifier: GPL-2.0-only

//! The races that LUO must win, each a model with the name of the two that race.
//!
//! Two tasks change places before every lock, in every call of a handler, before a module is held,
//! and where a descriptor appears. That makes some dozen to twenty thousand schedules, so nearly all
//! models say `Search::Every`. Those with more, all about FLBs, try all with a few preemptions and
//! some others by lot; `LUO_RACES_SAMPLES=100000` makes that more.
//! `cargo test -p luo-races -- --nocapture` says how many.
//!
//! In `mutations` is for every lock what must make which model fail.

mod closing;
mod device;
mod failing;
mod fetching;
mod flb;
mod incoming;
mod links;
mod module;
mod registry;
mod second_kexec;
mod serialization;
mod world;
