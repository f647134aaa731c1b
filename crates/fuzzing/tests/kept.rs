// SPDX-License-Identifier: GPL-2.0-only

//! The inputs that are kept: what fuzzers have found, and what reaches every line that they reach.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

#[test]
fn handover() {
    replay("handover");
}

#[test]
fn ioctls() {
    replay("ioctls");
}

#[test]
fn ops() {
    replay("ops");
}

#[test]
fn protocol() {
    replay("protocol");
}

/// Runs a target on all that is kept for it.
fn replay(name: &str) {
    let (_, target) = luo_fuzzing::TARGETS.iter().find(|it| it.0 == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/kept");
    let text = fs::read_to_string(folder.join(name).with_extension("hex")).unwrap();
    let inputs = text.lines().filter(|it| !it.starts_with('#'));
    let fails = |line: &&str| {
        let bytes = bytes(line);
        catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err()
    };
    let failing: Vec<_> = inputs.clone().filter(fails).collect();
    assert!(failing.is_empty(), "{failing:#?}");
    assert!(inputs.count() > 0);
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|it| str::from_utf8(it).unwrap());
    digits
        .map(|it| u8::from_str_radix(it, 16).unwrap())
        .collect()
}
