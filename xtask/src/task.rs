// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The commands of `cargo xtask`, each a struct of its arguments with a `run`.

pub mod bench;
pub mod demo;
pub mod doctor;
pub mod golden;
pub mod hostile;
pub mod kernel;
pub mod mutants;
pub mod soak;
pub mod test;
pub mod tidy;
pub mod vm;
