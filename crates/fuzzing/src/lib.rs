// SPDX-License-Identifier: GPL-2.0-only

//! What the fuzzers run, as functions of bytes. What they found is kept in `fuzz/kept/`, and run by this crate's tests.
//!
//! A finding is a panic: of LUO, of the simulated machine it runs on (whose lockdep and arena watch it), or of the
//! checks here.

pub mod handover;
pub mod ioctls;
pub mod keeper;
pub mod ops;
pub mod protocol;

use kernel::{host, prelude::*};
use luo_simulation::{
    open_device,
    uapi::{Call, RETRIEVE_SESSION, with_name},
};

/// What a fuzzer runs: any bytes will do.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("handover", handover::run),
    ("ioctls", ioctls::run),
    ("ops", ops::run),
    ("protocol", protocol::run),
];

/// `RETRIEVE_SESSION`, by a name that need not be a text.
fn retrieve(name: &[u8; 64]) -> Result<i32> {
    let mut bytes = with_name("");
    bytes[8..].copy_from_slice(name);
    let call = Call::new(RETRIEVE_SESSION, &bytes);
    let device = open_device()?;
    let result = call.on(device);
    host::close(device)?;
    result.map(|()| call.fd())
}
