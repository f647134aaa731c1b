// SPDX-License-Identifier: GPL-2.0-only

//! Sessions: named groups of files. [`outgoing`] ones are for the next kernel, [`incoming`] ones
//! come from the previous.

pub(crate) mod incoming;
pub(crate) mod outgoing;

use crate::{abi::NAME_LEN, file::Text};
use kernel::{fmt, prelude::*};

/// The name of a session: not empty, filled up with zeroes, at least one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionName([u8; NAME_LEN]);

impl SessionName {
    /// Takes the bytes up to the first NUL.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no NUL, or nothing before it.
    pub(crate) fn new(bytes: &[u8; NAME_LEN]) -> Result<Self> {
        let len = bytes.iter().position(|byte| *byte == 0).ok_or(EINVAL)?;
        if len == 0 {
            return Err(EINVAL);
        }
        let mut name = [0; NAME_LEN];
        name[..len].copy_from_slice(&bytes[..len]);
        Ok(Self(name))
    }

    /// The bytes, as they are serialized.
    pub(crate) fn bytes(&self) -> &[u8; NAME_LEN] {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(&self.0).fmt(f)
    }
}
