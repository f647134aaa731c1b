// SPDX-License-Identifier: GPL-2.0-only

//! Files of a session: preserved for the next kernel ([`outgoing`]), or waiting to be retrieved in
//! this one ([`incoming`]).

pub(crate) mod incoming;
pub(crate) mod outgoing;

use crate::abi::COMPAT_LEN;
use kernel::{
    fmt::{self, Write},
    fs::File,
    liveupdate::file_size,
    seq_file::SeqFile,
    seq_print,
};

/// What user space calls a file of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// Where the files of a session stand, in serialized form.
#[derive(Clone, Copy)]
pub(crate) struct FileSet {
    pub(crate) head_pa: u64,
    pub(crate) count: u64,
}

/// Writes the line of a file into `fdinfo`.
fn show_file(m: &SeqFile, token: Token, compatible: &[u8; COMPAT_LEN], state: &str) {
    seq_print!(
        m,
        "luo-file:\t{:#x} {} {}\n",
        token.0,
        Text(compatible),
        state
    );
}

/// Writes how large an open file is into `fdinfo`.
///
/// The line stands behind those of all files, so that they are as they were for readers who do not
/// know it.
fn show_size(m: &SeqFile, token: Token, file: &File) {
    seq_print!(m, "luo-size:\t{:#x} {}\n", token.0, file_size(file));
}

/// Bytes up to their NUL, to be printed on one line: `?` stands for what is not a printable
/// character.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().position(|byte| *byte == 0);
        for chunk in self.0[..len.unwrap_or(self.0.len())].utf8_chunks() {
            for character in chunk.valid().chars() {
                f.write_char(if character.is_control() {
                    '?'
                } else {
                    character
                })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}
