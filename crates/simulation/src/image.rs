// SPDX-License-Identifier: GPL-2.0-only

//! The serialized form "luo-v5", read as `include/linux/kho/abi/luo.h` describes it, without LUO's
//! own description of it.

use kernel::host;

/// The number at `offset` of the page at `pa`.
pub fn number(pa: u64, offset: usize) -> u64 {
    let page = host::peek(pa).expect("no page at this address");
    u64::from_le_bytes(page[offset..offset + 8].try_into().unwrap())
}

/// Overwrites the number at `offset` of the page at `pa`.
pub fn set(pa: u64, offset: usize, value: u64) {
    host::poke(pa, offset, &value.to_le_bytes());
}

/// Where the structures of a hand-over stand that has at least one session.
pub struct Image {
    /// The root.
    pub root: u64,
    /// The first block of sessions.
    pub sessions: u64,
    /// The page of FLBs.
    pub flbs: u64,
}

impl Image {
    /// That of the hand-over that has just succeeded.
    pub fn find() -> Self {
        let (root, size) = host::published(c"LUO").unwrap();
        assert_eq!(size, 32);
        Self {
            root,
            sessions: number(root, 16),
            flbs: number(root, 24),
        }
    }

    /// The first block of files of session `index`, which is in the first block of sessions.
    pub fn files(&self, index: usize) -> u64 {
        number(self.sessions, session(index) + 64)
    }

    /// Overwrites a number of session `index`.
    pub fn set_session(&self, index: usize, offset: usize, value: u64) {
        set(self.sessions, session(index) + offset, value);
    }

    /// Overwrites the name of session `index`.
    pub fn write_session(&self, index: usize, name: &[u8]) {
        host::poke(self.sessions, session(index), name);
    }

    /// Overwrites a number of file `index` of the first session.
    pub fn set_file(&self, index: usize, offset: usize, value: u64) {
        set(self.files(0), file(index) + offset, value);
    }

    /// Overwrites the compatibility string of file `index` of the first session.
    pub fn write_file(&self, index: usize, compatible: &[u8]) {
        host::poke(self.files(0), file(index), compatible);
    }
}

/// Where session `index` stands in its block: `{name[64]; u64 files_pa; u64 count}`.
const fn session(index: usize) -> usize {
    16 + 80 * index
}

/// Where file `index` stands in its block: `{compatible[48]; u64 data; u64 token}`.
const fn file(index: usize) -> usize {
    16 + 64 * index
}
