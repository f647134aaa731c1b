// SPDX-License-Identifier: GPL-2.0-only

//! All incoming sessions, and how they are read.

use super::{Session, SessionName};
use crate::{
    abi::{SessionSer, SESSIONS_PER_BLOCK},
    block::IncomingBlocks,
    file::FileSet,
    session::outgoing,
    Luo,
};
use kernel::{
    fmt,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::Arc,
};

type Blocks = IncomingBlocks<SessionSer, SESSIONS_PER_BLOCK>;
type Sessions = RBTree<SessionName, Arc<Session>>;

/// How far the reading of the previous kernel's sessions has come.
enum Stage {
    Unread(Blocks),
    Read,
    /// They are broken. What they hold stays preserved until a reboot: what is half restored is
    /// never unwound.
    Broken {
        fault: Error,
        blocks: Blocks,
        _sessions: Sessions,
    },
}

/// All incoming sessions that are not finished.
pub(crate) struct Table {
    stage: Stage,
    pub(super) by_name: Sessions,
    /// How many entries of the blocks are read, while they are being read.
    nr_read: usize,
    /// How many of them are leaked because nobody can ask for them.
    nr_nameless: usize,
    /// The sessions with files, while they are being read.
    with_files: KVVec<(FileSet, Arc<Session>)>,
}

impl Table {
    /// The sessions of the block set that begins at `head_pa`; none if that is 0.
    pub(crate) fn new(head_pa: u64) -> Self {
        Self {
            stage: if head_pa == 0 {
                Stage::Read
            } else {
                Stage::Unread(IncomingBlocks::new(head_pa))
            },
            by_name: RBTree::new(),
            nr_read: 0,
            nr_nameless: 0,
            with_files: KVVec::new(),
        }
    }

    /// Reads the sessions, if that is not done.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: may be repeated. `EIO`, for good: what the previous kernel wrote is broken.
    pub(crate) fn restore(&mut self) -> Result {
        if let Stage::Broken { .. } = self.stage {
            return Err(EIO);
        }
        let Stage::Unread(mut blocks) = core::mem::replace(&mut self.stage, Stage::Read) else {
            return Ok(());
        };
        let Err(fault) = self.read(&mut blocks) else {
            return Ok(());
        };
        if fault == ENOMEM {
            self.stage = Stage::Unread(blocks);
            return Err(fault);
        }
        pr_err!(
            "the sessions of the previous kernel are broken ({:?}) and leaked\n",
            fault
        );
        self.stage = Stage::Broken {
            fault,
            blocks,
            _sessions: core::mem::take(&mut self.by_name),
        };
        Err(EIO)
    }

    fn read(&mut self, blocks: &mut Blocks) -> Result {
        blocks.load()?;
        for ser in blocks.iter().skip(self.nr_read) {
            self.add(&ser)?;
            self.nr_read += 1;
        }
        self.give_up_those_that_share();
        Ok(())
    }

    /// Adds a session. One whose name cannot be used is leaked and does not concern the others. If
    /// two have the same name nobody knows which is which: both are lost.
    fn add(&mut self, ser: &SessionSer) -> Result {
        let Ok(name) = SessionName::new(&ser.name) else {
            pr_err!("a session without a usable name is leaked\n");
            self.nr_nameless += 1;
            return Ok(());
        };
        if let Some(namesake) = self.by_name.get(&name) {
            pr_err!("two sessions are called '{}' and leaked\n", name);
            namesake.state.lock().give_up(EEXIST);
            self.nr_nameless += 1;
            return Ok(());
        }
        let set = FileSet {
            head_pa: ser.files_pa,
            count: ser.count,
        };
        self.with_files.reserve(1, GFP_KERNEL)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let session = Session::new(name, set)?;
        if set.head_pa != 0 {
            self.with_files.push((set, session.clone()), GFP_KERNEL)?;
        }
        self.by_name.insert(node.into_node(name, session));
        Ok(())
    }

    /// Gives up all sessions that claim the same files: whoever came first would get the files of
    /// another.
    fn give_up_those_that_share(&mut self) {
        let mut sessions = core::mem::take(&mut self.with_files);
        sessions.sort_unstable_by_key(|(set, _)| (set.head_pa, set.count));
        for pair in sessions.windows(2) {
            let [(one, a), (other, b)] = pair else {
                continue;
            };
            if (one.head_pa, one.count) == (other.head_pa, other.count) {
                pr_err!("'{}' and '{}' have the same files\n", a.name, b.name);
                a.state.lock().give_up(EEXIST);
                b.state.lock().give_up(EEXIST);
            }
        }
    }

    /// How many sessions have something that a kexec would lose.
    ///
    /// # Errors
    ///
    /// Those of [`restore`](Self::restore), but broken sessions are no obstacle: only a reboot
    /// gets rid of them.
    pub(crate) fn unfinished(&mut self) -> Result<usize> {
        match self.restore() {
            Err(err) if err == EIO => return Ok(0),
            restored => restored?,
        }
        let unfinished = |it: &&Arc<Session>| it.state.lock().phase.holds_back_kexec();
        Ok(self.by_name.values().filter(unfinished).count())
    }

    /// Passes all sessions on to the next kernel that nobody has retrieved in this one.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one cannot be passed on, or has the name of one in `outgoing`; `ENOMEM`. Nothing
    /// has changed then.
    pub(crate) fn carry(
        &mut self,
        luo: &Luo,
        outgoing: &outgoing::Table,
    ) -> Result<KVVec<SessionSer>> {
        // All are read before the first handler or FLB is asked.
        for session in self.by_name.values() {
            let prepared = session.prepare_to_carry(luo);
            prepared.inspect_err(|_| not_carried(session))?;
        }
        let mut carried = KVVec::new();
        for session in self.by_name.values() {
            if let Err(err) = carry_one(session, luo, outgoing, &mut carried) {
                not_carried(session);
                self.uncarry();
                return Err(err);
            }
        }
        Ok(carried)
    }

    /// Undoes [`carry`](Self::carry).
    pub(crate) fn uncarry(&self) {
        self.by_name.values().for_each(|it| it.uncarry());
    }

    /// Lines for debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stage {
            Stage::Unread(_) => f.write_str("sessions: not read before the device is opened\n")?,
            Stage::Read => {}
            Stage::Broken { fault, blocks, .. } => f.write_fmt(fmt!(
                "sessions: all, and {} pages of their list, leaked: {fault:?}\n",
                blocks.pages()
            ))?,
        }
        if self.nr_nameless != 0 {
            f.write_fmt(fmt!(
                "sessions: {} leaked without a name\n",
                self.nr_nameless
            ))?;
        }
        self.by_name.values().try_for_each(|it| it.show(f))
    }
}

fn not_carried(session: &Session) {
    pr_err!(
        "kexec refused: session '{}' of the previous kernel is not finished\n",
        session.name
    );
}

fn carry_one(
    session: &Session,
    luo: &Luo,
    outgoing: &outgoing::Table,
    carried: &mut KVVec<SessionSer>,
) -> Result {
    carried.reserve(1, GFP_KERNEL)?;
    if let Some(ser) = session.carry(luo)? {
        carried.push(ser, GFP_KERNEL)?;
        if outgoing.contains(&session.name) {
            return Err(EBUSY);
        }
    }
    Ok(())
}
