// SPDX-License-Identifier: GPL-2.0-only

//! Incoming sessions: written down by the previous kernel, retrieved in this one.
//!
//! The sessions are read when the device is first opened ([`Table`]), the files of a session when
//! it is first asked for, so that what is wrong with one session does not concern the others.
//!
//! [`Checkout`] is what the open file of a retrieved session owns. Closing the file finishes the
//! session if all its files were fetched; otherwise the session is checked in and can be retrieved
//! anew. See [`Phase`] for the whole life.

mod table;

pub(crate) use self::table::Table;

use super::SessionName;
use crate::{
    abi::SessionSer,
    file::{incoming::IncomingFiles, FileSet, Token},
    phase::{Event, Phase},
    Luo,
};
use kernel::{
    fmt,
    fs::File,
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{aref::ARef, Arc, Mutex},
};

/// What changes in the life of an incoming session.
struct State {
    phase: Phase,
    files: IncomingFiles,
    /// Why it is broken.
    fault: Option<Error>,
}

impl State {
    /// Goes on to the next phase.
    ///
    /// # Errors
    ///
    /// The errno for an event that cannot happen now.
    fn step(&mut self, event: Event) -> Result {
        self.phase = self.phase.after(event).ok_or(match self.phase {
            Phase::Finished => ENOENT,
            Phase::Broken => EIO,
            Phase::Available | Phase::Offered | Phase::CheckedOut => EINVAL,
        })?;
        Ok(())
    }

    /// Whether a kexec has to pass the session on.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it cannot, as somebody has the session.
    fn is_to_be_carried(&self) -> Result<bool> {
        match self.phase {
            Phase::Available => Ok(true),
            Phase::Offered | Phase::CheckedOut => Err(EBUSY),
            Phase::Finished | Phase::Broken => Ok(false),
        }
    }

    /// Gives the session up, for this reason; the first reason stays.
    fn give_up(&mut self, fault: Error) {
        if self.step(Event::Break).is_ok() {
            self.fault = Some(fault);
        }
    }
}

/// What a kexec is told of a session that cannot be passed on.
fn cannot_be_carried(err: Error) -> Error {
    if err == ENOMEM {
        err
    } else {
        EBUSY
    }
}

/// An incoming session.
#[pin_data]
pub(crate) struct Session {
    name: SessionName,
    #[pin]
    state: Mutex<State>,
}

impl Session {
    fn new(name: SessionName, set: FileSet) -> Result<Arc<Self>> {
        let mut state = State {
            phase: Phase::Available,
            files: IncomingFiles::new(set),
            fault: None,
        };
        if (set.count == 0) != (set.head_pa == 0) {
            pr_err!(
                "session '{}': {} files at {:#x}\n",
                name,
                set.count,
                set.head_pa
            );
            state.give_up(EINVAL);
        }
        let init = pin_init!(Self {
            name,
            state <- new_mutex!(state, "luo_session_incoming"),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// Reads what is to be passed on to the next kernel.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has the session or it cannot be read now; `ENOMEM`.
    fn prepare_to_carry(&self, luo: &Luo) -> Result {
        let mut state = self.state.lock();
        if !state.is_to_be_carried()? {
            return Ok(());
        }
        match state.files.restore(&luo.registry) {
            Err(err) if err == EINVAL => {
                pr_err!("session '{}' is broken ({:?}) and leaked\n", self.name, err);
                state.give_up(err);
                Ok(())
            }
            restored => restored.map_err(cannot_be_carried),
        }
    }

    /// Passes the session on to the next kernel; `None` if there is nothing to pass on.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it cannot be passed on; `ENOMEM`.
    fn carry(&self, luo: &Luo) -> Result<Option<SessionSer>> {
        let mut state = self.state.lock();
        if !state.is_to_be_carried()? {
            return Ok(None);
        }
        let carried = state.files.carry(&luo.registry, &luo.incoming_flbs);
        let set = carried.map_err(cannot_be_carried)?;
        Ok(Some(SessionSer {
            name: *self.name.bytes(),
            files_pa: set.head_pa,
            count: set.count,
        }))
    }

    /// Undoes [`carry`](Self::carry).
    fn uncarry(&self) {
        self.state.lock().files.uncarry();
    }

    /// A line for debugfs.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (phase, files) = (state.phase.name(), state.files.declared());
        f.write_fmt(fmt!("session '{}': {phase}, {files} files", self.name))?;
        if let Some(fault) = state.fault {
            let pages = state.files.pages();
            f.write_fmt(fmt!(" and {pages} pages of their list leaked: {fault:?}"))?;
        }
        f.write_str("\n")
    }
}

/// The right to a retrieved session, owned by its open file.
pub(crate) struct Checkout {
    luo: &'static Luo,
    session: Arc<Session>,
}

impl Checkout {
    /// Chooses the session `name`. Nothing counts as fetched before [`deliver`](Self::deliver).
    ///
    /// # Errors
    ///
    /// `ENOENT` no such session; `EINVAL` somebody has it; `EIO` it is broken, or a handler for
    /// one of its files is missing; `ENOMEM` (may be repeated); `ESHUTDOWN` the kernel is about to
    /// be replaced.
    pub(crate) fn retrieve(luo: &'static Luo, name: SessionName) -> Result<Self> {
        let _entered = luo.gate.enter()?;
        let session = luo
            .incoming
            .lock()
            .by_name
            .get(&name)
            .cloned()
            .ok_or(ENOENT)?;
        let mut state = session.state.lock();
        state.step(Event::Retrieve)?;
        if let Err(err) = state.files.restore(&luo.registry) {
            state.step(Event::CheckIn)?;
            if err == ENOMEM {
                return Err(err);
            }
            if err != ENOENT {
                pr_err!("session '{}' is broken ({:?}) and leaked\n", name, err);
                state.give_up(err);
            }
            return Err(EIO);
        }
        drop(state);
        Ok(Self { luo, session })
    }

    /// Notes that the caller gets a descriptor of the session.
    pub(crate) fn deliver(session: &Arc<Session>) -> Result {
        session.state.lock().step(Event::Deliver)
    }

    /// The session, to be delivered once its file exists.
    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.clone()
    }

    /// The name.
    pub(crate) fn name(&self) -> &SessionName {
        &self.session.name
    }

    /// Gets a file back. May take long.
    ///
    /// # Errors
    ///
    /// Those of [`IncomingFiles::retrieve`]; `ESHUTDOWN` the kernel is about to be replaced.
    pub(crate) fn retrieve_file(&self, token: Token) -> Result<ARef<File>> {
        let _entered = self.luo.gate.enter()?;
        let mut state = self.session.state.lock();
        state.files.retrieve(&self.luo.registry, token)
    }

    /// Notes that the caller gets a descriptor of a retrieved file.
    pub(crate) fn file_delivered(&self, token: Token) {
        self.session.state.lock().files.mark_fetched(token);
    }

    /// Ends the session; files that nobody fetched are discarded. A repeat does nothing.
    ///
    /// # Errors
    ///
    /// `EBUSY` a handler is not ready, nothing has changed; `ESHUTDOWN` the kernel is about to be
    /// replaced.
    pub(crate) fn finish(&self) -> Result {
        let _entered = self.luo.gate.enter()?;
        self.finish_inside(&mut self.session.state.lock())?;
        self.forget_finished();
        Ok(())
    }

    fn finish_inside(&self, state: &mut State) -> Result {
        if state.phase == Phase::Finished {
            return Ok(());
        }
        state
            .files
            .finish(&self.luo.registry, &self.luo.incoming_flbs)?;
        state.step(Event::Finish)
    }

    /// Frees the name of a finished session. The table comes before the session in the lock order,
    /// so the session's lock must not be held.
    fn forget_finished(&self) {
        let node = self
            .luo
            .incoming
            .lock()
            .by_name
            .remove_node(&self.session.name);
        drop(node);
    }

    /// Writes name, direction, state and files into `fdinfo`.
    pub(crate) fn show(&self, m: &SeqFile) {
        let state = self.session.state.lock();
        seq_print!(m, "luo-session:\t{}\n", self.session.name);
        seq_print!(m, "luo-direction:\tincoming\n");
        seq_print!(m, "luo-state:\t{}\n", state.phase.name());
        state.files.show(m);
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Ok(_entered) = self.luo.gate.enter() else {
            return;
        };
        let mut state = self.session.state.lock();
        let fetched = state.phase == Phase::CheckedOut && state.files.all_fetched();
        let finished =
            state.phase == Phase::Finished || (fetched && self.finish_inside(&mut state).is_ok());
        if finished {
            drop(state);
            self.forget_finished();
            return;
        }
        if state.phase == Phase::CheckedOut {
            pr_info!(
                "session '{}' was closed with files left and is available again\n",
                self.session.name
            );
        }
        // From Offered and CheckedOut, the only phases left, this step exists.
        let checked_in = state.step(Event::CheckIn);
        debug_assert!(checked_in.is_ok());
    }
}
