// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What names things: sessions by text, files within a session by number.

use std::{fmt, str::FromStr};

use crate::uapi::SESSION_NAME_LENGTH;

/// A session's name: 1 to 63 bytes without NUL.
///
/// ```
/// use liveupdate::SessionName;
/// let name: SessionName = "vm-1".parse()?;
/// assert_eq!(name.to_string(), "vm-1");
/// # Ok::<(), liveupdate::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName(String);

/// The key of a file within its session; chosen by the user.
///
/// ```
/// use liveupdate::Token;
/// const GUEST_MEMORY: Token = Token(0x10);
/// assert_eq!(GUEST_MEMORY.to_string(), "0x10");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Why a text cannot name a session.
///
/// ```
/// use liveupdate::InvalidName;
/// assert_eq!(InvalidName::TooLong(70).to_string(), "a session name has at most 63 bytes, this one has 70");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The kernel refuses a session without a name.
    #[error("a session name cannot be empty")]
    Empty,
    /// More than 63 bytes; holds the length.
    #[error("a session name has at most 63 bytes, this one has {0}")]
    TooLong(usize),
    /// The kernel's names end at the first NUL.
    #[error("a session name cannot contain a NUL byte")]
    Nul,
}

impl SessionName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`InvalidName`] when the kernel could not hold it as it is.
    ///
    /// ```
    /// use liveupdate::{InvalidName, SessionName};
    /// assert!(SessionName::new("vm-1").is_ok());
    /// assert_eq!(SessionName::new("x".repeat(64)), Err(InvalidName::TooLong(64)));
    /// ```
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        match name.len() {
            0 => Err(InvalidName::Empty),
            len if len >= SESSION_NAME_LENGTH => Err(InvalidName::TooLong(len)),
            _ if name.as_bytes().contains(&0) => Err(InvalidName::Nul),
            _ => Ok(Self(name)),
        }
    }

    /// The name as text.
    ///
    /// ```
    /// assert_eq!(liveupdate::SessionName::new("vm-1")?.as_str(), "vm-1");
    /// # Ok::<(), liveupdate::InvalidName>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_field(&self) -> [u8; SESSION_NAME_LENGTH] {
        let mut field = [0; SESSION_NAME_LENGTH];
        field[..self.0.len()].copy_from_slice(self.0.as_bytes());
        field
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SessionName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_can_hold() {
        assert_eq!(SessionName::new(""), Err(InvalidName::Empty));
        assert_eq!(SessionName::new("a\0b"), Err(InvalidName::Nul));
        assert_eq!(
            SessionName::new("x".repeat(64)),
            Err(InvalidName::TooLong(64))
        );
        assert!(SessionName::new("x".repeat(63)).is_ok());
        assert!(
            SessionName::new("é".repeat(32)).is_err(),
            "length counts bytes"
        );
    }

    #[test]
    fn a_name_of_63_bytes_keeps_its_terminator() {
        let field = SessionName::new("x".repeat(63)).unwrap().to_field();
        assert_eq!((field[62], field[63]), (b'x', 0));
    }
}
