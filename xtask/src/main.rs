// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask`: everything one does with this repository.

fn main() {}
