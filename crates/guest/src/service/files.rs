// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory files whose bytes follow from whose they are, from the generation that made them, and from their tokens.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use anyhow::{Result, anyhow, bail};
use liveupdate::{Incoming, Outgoing, Session, Token};
use luo_guest::{
    pattern::Content,
    proto::{Failure, MemfdSpec, Pages},
};
use rustix::fs::MemfdFlags;

use crate::memfd;

/// A service's files.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub owner: String,
    pub generation: u64,
    pub count: u64,
    /// Of the first; the others are a page longer each. A few more make the last page a part of one.
    pub bytes: u64,
}

impl Files {
    pub(crate) fn make(&self) -> Result<Vec<File>> {
        let make = |_| memfd::new_memfd(MemfdFlags::ALLOW_SEALING).map_err(error);
        let files = (0..self.count).map(make).collect::<Result<Vec<_>>>()?;
        self.write(&files)?;
        Ok(files)
    }

    /// Writes every byte of files that are there.
    pub(crate) fn write(&self, files: &[File]) -> Result<()> {
        for (token, file) in (0..).zip(files) {
            let content = self.content(token);
            file.set_len(content.size)?;
            memfd::fill(file, &content, Pages::Small).map_err(error)?;
        }
        Ok(())
    }

    /// Every byte of all of them.
    pub(crate) fn check(&self, files: &[File]) -> Result<()> {
        (0..)
            .zip(files)
            .try_for_each(|(token, file)| self.check_one(token, file))
    }

    pub(crate) fn preserve(&self, session: &Session<Outgoing>, files: &[File]) -> Result<()> {
        for (token, file) in (0..).zip(files) {
            session.preserve(Token(token), file)?;
        }
        Ok(())
    }

    /// Fetches and compares all of them.
    pub(crate) fn fetch(&self, session: &Session<Incoming>) -> Result<Vec<File>> {
        let fetch = |token| {
            let file: OwnedFd = session.retrieve(Token(token))?;
            let file = File::from(file);
            self.check_one(token, &file)?;
            Ok(file)
        };
        (0..self.count).map(fetch).collect()
    }

    /// Makes one byte wrong.
    pub(crate) fn spoil(&self, files: &[File]) -> Result<()> {
        let Some(last) = files.last() else {
            bail!("no file to spoil")
        };
        let mut byte = [0];
        last.read_exact_at(&mut byte, self.bytes / 2)?;
        last.write_all_at(&[!byte[0]], self.bytes / 2)?;
        Ok(())
    }

    fn check_one(&self, token: u64, file: &File) -> Result<()> {
        // Files that others have made may be sealed.
        let seals = rustix::fs::fcntl_get_seals(file)?.bits();
        let spec = MemfdSpec {
            content: self.content(token),
            pages: Pages::Small,
            flags: 0,
            seals,
            position: 0,
        };
        match memfd::difference(file, &spec).map_err(error)? {
            None => Ok(()),
            Some(it) => bail!(
                "wrong data: {} of token {token} of {} is {:#x}, should be {:#x}",
                it.what,
                self.owner,
                it.found,
                it.wanted
            ),
        }
    }

    fn content(&self, token: u64) -> Content {
        let mut seed = DefaultHasher::new();
        (&self.owner, self.generation, token).hash(&mut seed);
        Content::full(seed.finish(), self.bytes + token * 4096 + 5)
    }
}

fn error(failure: Failure) -> anyhow::Error {
    anyhow!(failure.message)
}
