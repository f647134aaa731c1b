// SPDX-License-Identifier: Apache-2.0 OR MIT

//! This checkout.

use std::path::{Path, PathBuf};

/// The top of the checkout that this program was compiled from.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one level below the top")
}

/// The overlay, the edits and the configuration of Linux.
#[must_use]
pub fn linux() -> PathBuf {
    root().join("linux")
}
