// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Digests that name cache entries.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// Collects named parts and reduces them to a short name.
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part. Lengths are hashed too, so no two different lists of parts look the same.
    pub fn add(&mut self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &mut Self {
        for part in [name.as_ref(), content.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds the content of a file under `name`.
    pub fn add_file(&mut self, name: impl AsRef<[u8]>, path: &Path) -> Result<&mut Self> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.add(name, content))
    }

    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn finish(&self) -> String {
        self.0.clone().finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn moving_a_byte_between_parts_changes_the_name() {
        let name = |a: &str, b: &str| Digest::new().add(a, b).finish();
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_ne!(name("", "abc"), name("abc", ""));
        assert_eq!(name("a", "b"), name("a", "b"));
    }
}
