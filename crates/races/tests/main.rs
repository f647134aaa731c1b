// SPDX-License-Identifier: GPL-2.0-only

//! The races that LUO must win, each a model with the name of the two that race. Every model is
//! searched as far as it says; what must make it fail is in `mutations`.

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
