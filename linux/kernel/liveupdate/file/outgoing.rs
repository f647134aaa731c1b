// SPDX-License-Identifier: GPL-2.0-only

//! Files that this kernel preserves.

use super::{show_file, show_size, FileSet, Token};
use crate::{
    abi::{FileSer, FILES_PER_BLOCK},
    block::OutgoingBlocks,
    flb::outgoing::FlbHold,
    handler::{Claim, ClaimReservation, Registry},
};
use kernel::{
    fs::File,
    liveupdate::{fget, ActiveHandler, Saved},
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    seq_file::SeqFile,
    sync::{aref::ARef, Arc},
};

/// A preserved file. Dropping it unpreserves it; the fields are in the order of that.
struct PreservedFile {
    token: Token,
    saved: Saved,
    _flbs: FlbHold,
    _claim: Claim,
    handler: ActiveHandler,
    file: ARef<File>,
}

impl PreservedFile {
    fn new(registry: &Arc<Registry>, token: Token, fd: i32) -> Result<Self> {
        let file = fget(fd)?;
        let (handler, flbs) = registry.find_for(&file)?;
        let claim = ClaimReservation::new()?.claim(registry, handler.id(&file))?;
        let flbs = FlbHold::start(flbs)?;
        let saved = handler.preserve(&file)?;
        Ok(Self {
            token,
            saved,
            _flbs: flbs,
            _claim: claim,
            handler,
            file,
        })
    }

    fn freeze(&mut self) -> Result<FileSer> {
        self.handler.freeze(&self.file, &mut self.saved)?;
        Ok(FileSer {
            compatible: self.handler.compatible(),
            data: self.saved.data,
            token: self.token.0,
        })
    }

    fn unfreeze(&self) {
        self.handler.unfreeze(&self.file, self.saved);
    }
}

impl Drop for PreservedFile {
    fn drop(&mut self) {
        self.handler.unpreserve(&self.file, self.saved);
    }
}

/// The files of an outgoing session, in the order of their preservation.
pub(crate) struct OutgoingFiles {
    files: KVVec<PreservedFile>,
    tokens: RBTree<Token, ()>,
    blocks: OutgoingBlocks<FileSer, FILES_PER_BLOCK>,
}

impl OutgoingFiles {
    /// No files.
    pub(crate) fn new() -> Self {
        Self {
            files: KVVec::new(),
            tokens: RBTree::new(),
            blocks: OutgoingBlocks::new(),
        }
    }

    /// Preserves the file behind a descriptor of the calling task. May take long.
    ///
    /// # Errors
    ///
    /// `EEXIST` token in use; `EBADF`; `ENOENT` no handler; `EBUSY` file preserved already;
    /// `ENOSPC` too many files; `ENOMEM`; the handler's own. Nothing has changed then.
    pub(crate) fn preserve(&mut self, registry: &Arc<Registry>, token: Token, fd: i32) -> Result {
        if self.tokens.get(&token).is_some() {
            return Err(EEXIST);
        }
        let files = self.files.len();
        self.blocks.grow(files + 1)?;
        let preserved = self.preserve_with_room(registry, token, fd);
        if preserved.is_err() {
            self.blocks.shrink(files);
        }
        preserved
    }

    fn preserve_with_room(&mut self, registry: &Arc<Registry>, token: Token, fd: i32) -> Result {
        self.files.reserve(1, GFP_KERNEL)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let file = PreservedFile::new(registry, token, fd)?;
        self.files.push(file, GFP_KERNEL)?;
        self.tokens.insert(node.into_node(token, ()));
        Ok(())
    }

    /// Unpreserves all files, the last one first.
    pub(crate) fn clear(&mut self) {
        while self.files.pop().is_some() {}
        self.tokens = RBTree::new();
        self.blocks.shrink(0);
    }

    /// Freezes all files and writes them down.
    ///
    /// # Errors
    ///
    /// That of the file that refuses; those before it are then unfrozen.
    pub(crate) fn freeze(&mut self) -> Result<FileSet> {
        for index in 0..self.files.len() {
            let file = &mut self.files[index];
            let frozen = file.freeze().and_then(|ser| self.blocks.put(index, ser));
            if let Err(err) = frozen {
                pr_warn!(
                    "token {:#x} cannot be frozen: {:?}\n",
                    self.files[index].token.0,
                    err
                );
                self.unfreeze_first(index);
                return Err(err);
            }
        }
        self.blocks.seal(self.files.len());
        Ok(FileSet {
            head_pa: self.blocks.head_pa(),
            count: self.files.len() as u64,
        })
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn unfreeze(&mut self) {
        self.unfreeze_first(self.files.len());
        self.blocks.seal(0);
    }

    fn unfreeze_first(&self, count: usize) {
        for file in self.files[..count].iter().rev() {
            file.unfreeze();
        }
    }

    /// Writes all files, and their sizes, into `fdinfo`.
    pub(crate) fn show(&self, m: &SeqFile, state: &str) {
        for file in &self.files {
            show_file(m, file.token, &file.handler.compatible(), state);
        }
        for file in &self.files {
            show_size(m, file.token, &file.file);
        }
    }
}
