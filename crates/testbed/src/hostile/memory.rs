// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The physical memory of a kept machine.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

pub(crate) const PAGE: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
    /// Where it ends.
    pub end: u64,
}

impl Memory {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let end = file.metadata()?.len();
        Ok(Self { file, end })
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, at)
            .with_context(|| format!("no memory at {at:#x}"))?;
        Ok(bytes)
    }

    pub(crate) fn number(&self, at: u64) -> Result<u64> {
        let bytes = self.read(at, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    /// The address of every page that begins with these bytes.
    pub(crate) fn pages_with(&self, start: &[u8]) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        let mut bytes = vec![0; start.len()];
        for at in (0..self.end).step_by(PAGE as usize) {
            self.file.read_exact_at(&mut bytes, at)?;
            if bytes == start {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// A page in the upper half that is all zero: in all likelihood it belongs to nobody.
    pub(crate) fn unused_page(&self) -> Result<u64> {
        let zeros = vec![0; PAGE as usize];
        for at in (self.end / 2..self.end).step_by(PAGE as usize) {
            if self.read(at, PAGE as usize)? == zeros {
                return Ok(at);
            }
        }
        bail!("no page of the machine is unused")
    }
}
