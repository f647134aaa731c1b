// SPDX-License-Identifier: GPL-2.0-only

//! Files that the previous kernel preserved.

use super::{show_file, show_size, FileSet, Text, Token};
use crate::{
    abi::{FileSer, FILES_PER_BLOCK},
    block::{IncomingBlocks, OutgoingBlocks},
    flb::{incoming::IncomingFlbs, outgoing::FlbHold},
    handler::{Claim, ClaimReservation, Registry},
};
use kernel::{
    fs::File,
    liveupdate::{ActiveHandler, Kept, Retrieval, Unretrieved},
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    seq_file::SeqFile,
    sync::{aref::ARef, Arc},
};

/// How far the retrieval of an incoming file has come.
enum Stage {
    /// Nobody has it yet. What the handler keeps is of attempts that may be repeated.
    Waiting(Kept),
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
            Stage::Waiting(kept) => Retrieval::Waiting(*kept),
            Stage::Failed(err) => Retrieval::Failed(*err),
            Stage::Retrieved { file, .. } => Retrieval::Done(file),
        }
    }

    fn is_fetched(&self) -> bool {
        matches!(self.stage, Stage::Retrieved { fetched: true, .. })
    }

    fn retrieve(&mut self, registry: &Arc<Registry>) -> Result<ARef<File>> {
        let kept = match &mut self.stage {
            Stage::Retrieved { file, .. } => return Ok(file.clone()),
            Stage::Failed(err) => return Err(*err),
            Stage::Waiting(kept) => kept,
        };
        // Taken before the handler is called: what fails here has changed nothing.
        let reservation = ClaimReservation::new()?;
        match self.handler.retrieve(self.data, kept) {
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
            Err(Unretrieved::Transient(err)) => Err(err),
            Err(Unretrieved::Final(err)) => {
                pr_warn!("token {:#x} cannot be retrieved: {:?}\n", self.token.0, err);
                self.stage = Stage::Failed(err);
                Err(err)
            }
        }
    }

    /// Passes the file on to the next kernel, if nobody has it.
    fn carry(&mut self) -> Result<FileSer> {
        let Stage::Waiting(kept) = &mut self.stage else {
            return Err(EBUSY);
        };
        let carried = self.handler.carry(self.data, kept)?;
        Ok(FileSer {
            compatible: self.handler.compatible(),
            data: carried.data,
            token: self.token.0,
        })
    }

    fn uncarry(&mut self) {
        if let Stage::Waiting(kept) = &mut self.stage {
            self.handler.uncarry(self.data, kept);
        }
    }

    fn finish(self, registry: &Registry, flbs: &IncomingFlbs) {
        self.handler.finish(self.data, self.retrieval());
        let mut last = u64::MAX;
        while let Some((number, flb)) = registry.flb_before(*self.handler, last) {
            last = number;
            if let Ok(incoming) = flbs.find(&flb.compatible()) {
                incoming.file_finished(flb);
            }
        }
    }

    const fn state(&self) -> &'static str {
        match self.stage {
            Stage::Waiting(_) => "waiting",
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
    carried: Option<Carried>,
}

/// What passes files on to the next kernel that nobody has retrieved in this one. Dropping it ends
/// their use of FLBs.
struct Carried {
    blocks: OutgoingBlocks<FileSer, FILES_PER_BLOCK>,
    flbs: KVVec<FlbHold>,
}

impl IncomingFiles {
    /// Files that are written down in `set`, not looked at yet.
    pub(crate) fn new(set: FileSet) -> Self {
        Self {
            blocks: IncomingBlocks::new(set.head_pa),
            count: set.count,
            files: KVVec::new(),
            tokens: RBTree::new(),
            carried: None,
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
                pr_warn!(
                    "token {:#x}: no handler '{}'\n",
                    token.0,
                    Text(&ser.compatible)
                );
                return Err(ENOENT);
            };
            self.files.reserve(1, GFP_KERNEL)?;
            let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
            let file = IncomingFile {
                token,
                data: ser.data,
                handler,
                stage: Stage::Waiting(Kept::NOTHING),
            };
            self.files.push(file, GFP_KERNEL)?;
            self.tokens
                .insert(node.into_node(token, self.files.len() - 1));
        }
        Ok(())
    }

    /// How many files there are, says the previous kernel.
    pub(crate) const fn declared(&self) -> u64 {
        self.count
    }

    /// How many pages their list takes, as far as it was read.
    pub(crate) fn pages(&self) -> usize {
        self.blocks.pages()
    }

    fn find(&mut self, token: Token) -> Result<&mut IncomingFile> {
        let index = *self.tokens.get(&token).ok_or(ENOENT)?;
        self.files.get_mut(index).ok_or(ENOENT)
    }

    /// Gets a file back. May take long. A repeat gives the same file.
    ///
    /// # Errors
    ///
    /// `ENOENT` without such a file; `ENOMEM`, and the handler's own, which the handler may let be
    /// repeated: its failure is final otherwise.
    pub(crate) fn retrieve(
        &mut self,
        registry: &Arc<Registry>,
        token: Token,
    ) -> Result<ARef<File>> {
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

    /// Passes all files, which have to be restored, on to the next kernel, which finds them as this
    /// one did.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has one of them, or an FLB of it has not been retrieved; `EOPNOTSUPP` if a
    /// handler cannot; `ENOMEM`; those of the handlers and the FLBs. Nothing has changed then.
    pub(crate) fn carry(&mut self, registry: &Registry, flbs: &IncomingFlbs) -> Result<FileSet> {
        let mut carried = Carried {
            blocks: OutgoingBlocks::new(),
            flbs: KVVec::new(),
        };
        carried.blocks.grow(self.files.len())?;
        for index in 0..self.files.len() {
            if let Err(err) = self.carry_one(index, &mut carried, registry, flbs) {
                self.uncarry_first(index);
                return Err(err);
            }
        }
        carried.blocks.seal(self.files.len());
        let head_pa = carried.blocks.head_pa();
        self.carried = Some(carried);
        let count = self.count;
        Ok(FileSet { head_pa, count })
    }

    fn carry_one(
        &mut self,
        index: usize,
        carried: &mut Carried,
        registry: &Registry,
        flbs: &IncomingFlbs,
    ) -> Result {
        let file = self.files.get_mut(index).ok_or(EINVAL)?;
        let held = registry.flbs_of(*file.handler)?;
        if held
            .iter()
            .any(|(flb, _)| flbs.waits(&flb.flb().compatible()))
        {
            return Err(EBUSY);
        }
        carried.flbs.reserve(1, GFP_KERNEL)?;
        let hold = FlbHold::start(held)?;
        let ser = file.carry()?;
        carried.flbs.push(hold, GFP_KERNEL)?;
        carried
            .blocks
            .put(index, ser)
            .inspect_err(|_| file.uncarry())
    }

    /// Undoes [`carry`](Self::carry).
    pub(crate) fn uncarry(&mut self) {
        if self.carried.take().is_some() {
            self.uncarry_first(self.files.len());
        }
    }

    fn uncarry_first(&mut self, count: usize) {
        for file in self.files[..count].iter_mut().rev() {
            file.uncarry();
        }
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

    /// Writes all files into `fdinfo`, and the sizes of those that are made anew.
    pub(crate) fn show(&self, m: &SeqFile) {
        for file in &self.files {
            show_file(m, file.token, &file.handler.compatible(), file.state());
        }
        for incoming in &self.files {
            if let Stage::Retrieved { file, .. } = &incoming.stage {
                show_size(m, incoming.token, file);
            }
        }
    }
}
