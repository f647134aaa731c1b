// SPDX-License-Identifier: GPL-2.0-only

//! The races that LUO must win, each a model with the name of the two that race.
//!
//! Two tasks change places at every lock, every call of a handler, and where a descriptor appears.
//! That makes some hundred to ten thousand schedules, so nearly all models say
//! `Search::Every`: all schedules are tried. Those with more, which preserve or finish a file each on
//! both sides, try all with three preemptions and some others by lot; `LUO_RACES_SAMPLES=100000`
//! makes that more. `cargo test -p luo-races -- --nocapture` says how many.
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
