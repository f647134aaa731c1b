// SPDX-License-Identifier: GPL-2.0-only

//! Files and descriptors.

pub mod file;
pub mod handle;

pub use self::file::File;
