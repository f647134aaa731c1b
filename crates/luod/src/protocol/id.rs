// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What clients call themselves.

use std::fmt;

use liveupdate::SessionName;
use serde::{Deserialize, Serialize};

/// The name of what is carried over for one client, and of its session in the kernel: 1 to 48 letters, digits, `.`, `_` and
/// `-`, the first no `.`, and none of [`RESERVED`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Id(String);

/// Names that are taken: the service manager's session, and the agent's own.
pub const RESERVED: [&str; 2] = ["systemd", "luod"];
const MAX_BYTES: usize = 48;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It is empty or too long; holds the length.
    #[error("an id has 1 to {MAX_BYTES} characters, this one has {0}")]
    Length(usize),
    /// It contains something else than letters, digits, `.`, `_` and `-`; holds what.
    #[error("an id has letters, digits, '.', '_' and '-' only, not {0:?}")]
    Character(char),
    /// It would be a hidden file, or a folder above.
    #[error("an id does not begin with '.'")]
    Dot,
    /// It is one of [`RESERVED`].
    #[error("{0:?} is reserved; choose another id")]
    Reserved(String),
}

impl Id {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidId`] says what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
        if let Some(other) = text.chars().find(|it| !allowed(*it)) {
            return Err(InvalidId::Character(other));
        }
        match text.len() {
            1..=MAX_BYTES => {}
            len => return Err(InvalidId::Length(len)),
        }
        if text.starts_with('.') {
            return Err(InvalidId::Dot);
        }
        if RESERVED.contains(&text.as_str()) {
            return Err(InvalidId::Reserved(text));
        }
        Ok(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its session.
    pub fn session_name(&self) -> SessionName {
        SessionName::new(&*self.0).expect("ids are shorter than names of sessions, and have no NUL")
    }
}

impl TryFrom<String> for Id {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl std::str::FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_of_files_and_of_sessions() {
        for good in ["vm-1", "a", "3f2b.cache_A", &"x".repeat(48)] {
            assert_eq!(Id::new(good).unwrap().session_name().as_str(), good);
        }
        assert_eq!(Id::new(""), Err(InvalidId::Length(0)));
        assert_eq!(Id::new("x".repeat(49)), Err(InvalidId::Length(49)));
        assert_eq!(Id::new("a/b"), Err(InvalidId::Character('/')));
        assert_eq!(Id::new("a:b"), Err(InvalidId::Character(':')));
        assert_eq!(Id::new("é"), Err(InvalidId::Character('é')));
        assert_eq!(Id::new(".."), Err(InvalidId::Dot));
        for name in RESERVED {
            assert_eq!(Id::new(name), Err(InvalidId::Reserved(name.into())));
        }
    }
}
