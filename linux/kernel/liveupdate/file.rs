// SPDX-License-Identifier: GPL-2.0-only

//! Files of a session: preserved for the next kernel, or waiting to be retrieved in this one.

use crate::{
    abi::{FileSer, COMPAT_LEN, FILES_PER_BLOCK},
    block::{IncomingBlocks, OutgoingBlocks},
    flb::{FlbHold, IncomingFlbs},
    handler::{Claim, ClaimReservation, Registry},
};
use kernel::{
    fs::File,
    liveupdate::{fget, ActiveHandler, Retrieval, Saved},
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    seq_file::SeqFile,
    seq_print,
    sync::{aref::ARef, Arc},
};

/// What user space calls a file of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

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

/// Where the files of a session stand, in serialized form.
#[derive(Clone, Copy)]
pub(crate) struct FileSet {
    pub(crate) head_pa: u64,
    pub(crate) count: u64,
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
                pr_warn!("token {:#x} cannot be frozen: {:?}\n", self.files[index].token.0, err);
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

    /// Writes a line for each file into `fdinfo`.
    pub(crate) fn show(&self, m: &SeqFile, state: &str) {
        for file in &self.files {
            show_file(m, file.token, &file.handler.compatible(), state);
        }
    }
}

/// How far the retrieval of an incoming file has come.
enum Stage {
    /// Untouched since the previous kernel.
    Waiting,
    /// The handler failed, for good.
    Failed(Error),
    /// Made anew. `fetched`: somebody has a descriptor of it.
    Retrieved {
        file: ARef<File>,
        _claim: Option<Claim>,
        fetched: bool,
    },
}

/// A file that the previous kernel preserved.
struct IncomingFile {
    token: Token,
    data: u64,
    stage: Stage,
    handler: ActiveHandler,
}

impl IncomingFile {
    fn retrieval(&self) -> Retrieval<'_> {
        match &self.stage {
            Stage::Waiting => Retrieval::Untried,
            Stage::Failed(err) => Retrieval::Failed(*err),
            Stage::Retrieved { file, .. } => Retrieval::Done(file),
        }
    }

    fn is_fetched(&self) -> bool {
        matches!(self.stage, Stage::Retrieved { fetched: true, .. })
    }

    fn retrieve(&mut self, registry: &Arc<Registry>) -> Result<ARef<File>> {
        match &self.stage {
            Stage::Retrieved { file, .. } => return Ok(file.clone()),
            Stage::Failed(err) => return Err(*err),
            Stage::Waiting => {}
        }
        // Taken before the handler is called: what fails here has changed nothing.
        let reservation = ClaimReservation::new()?;
        match self.handler.retrieve(self.data) {
            Ok(file) => {
                let claim = reservation.claim(registry, self.handler.id(&file));
                if claim.is_err() {
                    pr_warn!("a retrieved file is one that is preserved already\n");
                }
                self.stage = Stage::Retrieved {
                    file: file.clone(),
                    _claim: claim.ok(),
                    fetched: false,
                };
                Ok(file)
            }
            Err(err) => {
                pr_warn!("token {:#x} cannot be retrieved: {:?}\n", self.token.0, err);
                self.stage = Stage::Failed(err);
                Err(err)
            }
        }
    }

    fn finish(self, registry: &Registry, flbs: &IncomingFlbs) {
        self.handler.finish(self.data, self.retrieval());
        for index in (0..registry.nr_flbs_of(*self.handler)).rev() {
            if let Some(flb) = registry.nth_flb_of(*self.handler, index) {
                if let Ok(incoming) = flbs.find(&flb.compatible()) {
                    incoming.file_finished(flb);
                }
            }
        }
    }

    const fn state(&self) -> &'static str {
        match self.stage {
            Stage::Waiting => "waiting",
            Stage::Failed(_) => "failed",
            Stage::Retrieved { fetched: false, .. } => "restored",
            Stage::Retrieved { fetched: true, .. } => "retrieved",
        }
    }
}

/// The files of an incoming session.
pub(crate) struct IncomingFiles {
    blocks: IncomingBlocks<FileSer, FILES_PER_BLOCK>,
    count: u64,
    files: KVVec<IncomingFile>,
    tokens: RBTree<Token, usize>,
}

impl IncomingFiles {
    /// Files that are written down in `set`, not looked at yet.
    pub(crate) fn new(set: FileSet) -> Self {
        Self {
            blocks: IncomingBlocks::new(set.head_pa),
            count: set.count,
            files: KVVec::new(),
            tokens: RBTree::new(),
        }
    }

    /// Reads what the previous kernel wrote down, as far as that is not done.
    ///
    /// # Errors
    ///
    /// `ENOMEM` and `ENOENT` (a handler is missing) may be repeated; `EINVAL`: it is broken.
    pub(crate) fn restore(&mut self, registry: &Registry) -> Result {
        self.blocks.load()?;
        if self.blocks.iter().count() as u64 != self.count {
            return Err(EINVAL);
        }
        for ser in self.blocks.iter().skip(self.files.len()) {
            let token = Token(ser.token);
            if !ser.compatible.contains(&0) || self.tokens.get(&token).is_some() {
                return Err(EINVAL);
            }
            let Some(handler) = registry.find_compatible(&ser.compatible) else {
                pr_warn!("token {:#x}: no handler '{}'\n", token.0, Text(&ser.compatible));
                return Err(ENOENT);
            };
            self.files.reserve(1, GFP_KERNEL)?;
            let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
            let file = IncomingFile {
                token,
                data: ser.data,
                handler,
                stage: Stage::Waiting,
            };
            self.files.push(file, GFP_KERNEL)?;
            self.tokens.insert(node.into_node(token, self.files.len() - 1));
        }
        Ok(())
    }

    fn find(&mut self, token: Token) -> Result<&mut IncomingFile> {
        let index = *self.tokens.get(&token).ok_or(ENOENT)?;
        self.files.get_mut(index).ok_or(ENOENT)
    }

    /// Gets a file back. May take long. A repeat gives the same file.
    ///
    /// # Errors
    ///
    /// `ENOENT` without such a file, `ENOMEM` (may be repeated), the handler's own for good.
    pub(crate) fn retrieve(&mut self, registry: &Arc<Registry>, token: Token) -> Result<ARef<File>> {
        self.find(token)?.retrieve(registry)
    }

    /// Notes that somebody has a descriptor of the file.
    pub(crate) fn mark_fetched(&mut self, token: Token) {
        if let Ok(IncomingFile {
            stage: Stage::Retrieved { fetched, .. },
            ..
        }) = self.find(token)
        {
            *fetched = true;
        }
    }

    /// Whether somebody has, or had, a descriptor of every file.
    pub(crate) fn all_fetched(&self) -> bool {
        self.files.iter().all(IncomingFile::is_fetched)
    }

    /// Finishes all files, the last one first.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a handler is not ready; nothing has changed then.
    pub(crate) fn finish(&mut self, registry: &Registry, flbs: &IncomingFlbs) -> Result {
        let ready = |it: &IncomingFile| it.handler.can_finish(it.data, it.retrieval());
        if !self.files.iter().all(ready) {
            return Err(EBUSY);
        }
        self.tokens = RBTree::new();
        while let Some(file) = self.files.pop() {
            file.finish(registry, flbs);
        }
        self.blocks = IncomingBlocks::new(0);
        Ok(())
    }

    /// Writes a line for each file into `fdinfo`.
    pub(crate) fn show(&self, m: &SeqFile) {
        for file in &self.files {
            show_file(m, file.token, &file.handler.compatible(), file.state());
        }
    }
}

fn show_file(m: &SeqFile, token: Token, compatible: &[u8; COMPAT_LEN], state: &str) {
    seq_print!(m, "luo-file:\t{:#x} {} {}\n", token.0, Text(compatible), state);
}

/// Bytes up to their NUL, to be printed; what is not printable becomes `?`.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl kernel::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        for &byte in self.0.iter().take_while(|byte| **byte != 0) {
            let shown = if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
            kernel::fmt::Write::write_char(f, shown as char)?;
        }
        Ok(())
    }
}
