// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `KUnit` tests, which a kernel runs by itself when it boots, and whose results are in its log.

use crate::scenario::{Action, Flavor, Scenario};

/// `kernel/liveupdate/conformance.rs`.
pub(super) fn conformance() -> Scenario {
    let actions = vec![
        Action::Printed("# luo_kernel_crate: pass:"),
        Action::NotPrinted("not ok "),
    ];
    let name = "kunit/the kernel crate is what user-space tests take it for";
    Scenario::new(name, Flavor::Rust, actions)
}
