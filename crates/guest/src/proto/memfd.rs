// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory files, and what can be done with them.

use serde::{Deserialize, Serialize};

use crate::pattern::Content;

/// What a memfd is made like, and should be like afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemfdSpec {
    /// Length and bytes.
    pub content: Content,
    /// What its pages are.
    pub pages: Pages,
    /// `memfd_create` flags besides `MFD_ALLOW_SEALING`.
    pub flags: u32,
    /// `F_SEAL_*`, added after the content is written.
    pub seals: u32,
    /// The file position.
    pub position: u64,
}

/// The pages of a memfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pages {
    /// 4 KiB.
    Small,
    /// 4 KiB, none beside its neighbours in the file.
    Scattered,
    /// 4 KiB, none beside another of the file in memory: every other page was somebody else's.
    Fragmented,
    /// 2 MiB, transparent.
    Huge,
    /// 2 MiB, from hugetlbfs.
    HugeTlb,
}

/// What can be done with a memfd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemfdUse {
    /// Writes the content's ranges; the length stays.
    Fill {
        content: Content,
        pages: Pages,
        /// By a shared mapping, not by `write`.
        mapped: bool,
    },
    /// Makes a hole.
    Punch { offset: u64, length: u64 },
    /// Makes it longer or shorter.
    Resize { size: u64 },
    /// Runs it as a program, of which its content makes none: fails with `ENOEXEC` if it may be executed.
    Execute,
    /// Writes numbers that count up, into one page after the other and round again, and into the first page the last number that
    /// stands in another, for ever. By a shared mapping.
    CountUp,
    /// Whether it holds what [`CountUp`](Self::CountUp) wrote up to some moment, and nothing else. Gives
    /// [`Reply::Counted`](super::Reply::Counted).
    CheckCount,
}
