// SPDX-License-Identifier: GPL-2.0-only

//! Outgoing sessions: created in this kernel, handed to the next.
//!
//! A session lives as long as its file is open. [`Owner`] is what that file owns; dropping it
//! unpreserves the session's files, unless the session is handed over by then.

use super::SessionName;
use crate::{
    abi::{SessionSer, SESSIONS_PER_BLOCK},
    block::OutgoingBlocks,
    file::{outgoing::OutgoingFiles, Token},
    Luo,
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    seq_file::SeqFile,
    seq_print,
    sync::{Arc, Mutex},
};

/// An outgoing session.
#[pin_data]
pub(crate) struct Session {
    name: SessionName,
    /// Its place in the order of creation.
    number: u64,
    #[pin]
    files: Mutex<OutgoingFiles>,
}

/// All outgoing sessions, by name and in the order of creation.
pub(crate) struct Table {
    by_name: RBTree<SessionName, u64>,
    by_number: RBTree<u64, Arc<Session>>,
    count: usize,
    next_number: u64,
    blocks: OutgoingBlocks<SessionSer, SESSIONS_PER_BLOCK>,
}

impl Table {
    /// No sessions.
    pub(crate) fn new() -> Self {
        Self {
            by_name: RBTree::new(),
            by_number: RBTree::new(),
            count: 0,
            next_number: 0,
            blocks: OutgoingBlocks::new(),
        }
    }

    /// Whether there is nothing to hand over.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is a session of this name.
    pub(crate) fn contains(&self, name: &SessionName) -> bool {
        self.by_name.get(name).is_some()
    }

    fn create(&mut self, name: SessionName) -> Result<Arc<Session>> {
        if self.by_name.get(&name).is_some() {
            return Err(EEXIST);
        }
        let number = self.next_number;
        let by_name = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let by_number = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let init = pin_init!(Session {
            name,
            number,
            files <- new_mutex!(OutgoingFiles::new(), "luo_session_outgoing"),
        });
        let session = Arc::pin_init(init, GFP_KERNEL)?;
        self.blocks.grow(self.count + 1)?;

        self.by_name.insert(by_name.into_node(name, number));
        self.by_number
            .insert(by_number.into_node(number, session.clone()));
        self.next_number += 1;
        self.count += 1;
        Ok(session)
    }

    fn remove(&mut self, session: &Session) {
        if self.by_number.remove(&session.number).is_some() {
            self.by_name.remove(&session.name);
            self.count -= 1;
            self.blocks.shrink(self.count);
        }
    }

    /// Freezes all sessions and writes them down, behind those that are passed on; gives the address
    /// of the first block, or 0.
    ///
    /// # Errors
    ///
    /// That of the file that refuses, `ENOMEM`, `ENOSPC`; everything is then unfrozen, the last frozen
    /// first.
    pub(crate) fn freeze(&mut self, carried: &[SessionSer]) -> Result<u64> {
        let total = carried.len() + self.count;
        self.blocks.grow(total)?;
        let frozen = self.write(carried);
        match frozen {
            Ok(()) => self.blocks.seal(total),
            Err(_) => self.blocks.shrink(self.count),
        }
        frozen.map(|()| self.blocks.head_pa())
    }

    fn write(&mut self, carried: &[SessionSer]) -> Result {
        for (index, ser) in carried.iter().enumerate() {
            self.blocks.put(index, *ser)?;
        }
        let mut failed = None;
        for (index, session) in (carried.len()..).zip(self.by_number.values()) {
            let mut files = session.files.lock();
            let written = files.freeze().and_then(|set| {
                let ser = SessionSer {
                    name: *session.name.bytes(),
                    files_pa: set.head_pa,
                    count: set.count,
                };
                let put = self.blocks.put(index, ser);
                put.inspect_err(|_| files.unfreeze())
            });
            if let Err(err) = written {
                pr_warn!("session '{}' cannot be frozen: {:?}\n", session.name, err);
                failed = Some((session.number, err));
                break;
            }
        }
        if let Some((number, err)) = failed {
            self.unfreeze_before(number);
            return Err(err);
        }
        Ok(())
    }

    fn unfreeze_before(&mut self, number: u64) {
        let Some(mut cursor) = self.by_number.cursor_lower_bound_mut(&number) else {
            return;
        };
        while let Some(previous) = cursor.move_prev() {
            previous.current().1.files.lock().unfreeze();
            cursor = previous;
        }
    }
}

/// The right to an outgoing session, owned by its open file.
pub(crate) struct Owner {
    luo: &'static Luo,
    session: Arc<Session>,
}

impl Owner {
    /// Makes a session.
    ///
    /// # Errors
    ///
    /// `EEXIST` name in use; `ENOSPC` too many sessions; `ENOMEM`; `ESHUTDOWN` the kernel is about
    /// to be replaced.
    pub(crate) fn create(luo: &'static Luo, name: SessionName) -> Result<Self> {
        let _entered = luo.gate.enter()?;
        let session = luo.outgoing.lock().create(name)?;
        Ok(Self { luo, session })
    }

    /// The name.
    pub(crate) fn name(&self) -> &SessionName {
        &self.session.name
    }

    /// Preserves the file behind a descriptor of the calling task. May take long.
    ///
    /// # Errors
    ///
    /// Those of [`OutgoingFiles::preserve`]; `ESHUTDOWN` the kernel is about to be replaced.
    pub(crate) fn preserve(&self, token: Token, fd: i32) -> Result {
        let _entered = self.luo.gate.enter()?;
        let mut files = self.session.files.lock();
        files.preserve(&self.luo.registry, token, fd)
    }

    /// Writes name, direction, state and files into `fdinfo`.
    pub(crate) fn show(&self, m: &SeqFile) {
        let handed_over = self.luo.gate.is_handed_over();
        let state = if handed_over {
            "handed over"
        } else {
            "preserved"
        };
        seq_print!(m, "luo-session:\t{}\n", self.session.name);
        seq_print!(m, "luo-direction:\toutgoing\n");
        seq_print!(
            m,
            "luo-state:\t{}\n",
            if handed_over { "handed over" } else { "open" }
        );
        self.session.files.lock().show(m, state);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Once handed over the session is the next kernel's: the table keeps it as it is.
        if let Ok(_entered) = self.luo.gate.enter() {
            self.session.files.lock().clear();
            self.luo.outgoing.lock().remove(&self.session);
        }
    }
}
