// SPDX-License-Identifier: GPL-2.0-only

//! A handler for memfds that records what it is asked, and refuses what it is told to refuse.

use crate::busy::Busy;
use kernel::{
    fs::File,
    host::memfd,
    liveupdate::{FileOps, Module, Retrieval, Saved},
    prelude::*,
    sync::aref::ARef,
};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// The handler. A file goes by its contents, one that is not there by its handle.
pub struct Probe {
    memfd: memfd::Handler,
    calls: Mutex<Vec<String>>,
    refusals: Mutex<Vec<(String, Error)>>,
    busy: Busy,
    lets_repeat: AtomicBool,
    passes_on: AtomicBool,
}

impl Probe {
    /// With this compatibility string.
    pub fn new(compatible: &'static str) -> &'static Self {
        Box::leak(Box::new(Self {
            memfd: memfd::Handler::new(compatible),
            calls: Mutex::default(),
            refusals: Mutex::default(),
            busy: Busy::default(),
            lets_repeat: AtomicBool::new(false),
            passes_on: AtomicBool::new(false),
        }))
    }

    /// From now on a refused retrieval may be repeated.
    pub fn let_repeat(&self) {
        self.lets_repeat.store(true, Ordering::Relaxed);
    }

    /// From now on files that nobody has retrieved are passed on to the next kernel.
    pub fn pass_on(&self) {
        self.passes_on.store(true, Ordering::Relaxed);
    }

    /// A new kernel runs.
    pub fn rebooted(&self) {
        self.memfd.rebooted();
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<String> {
        core::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Refuses a call, such as "freeze a", until further notice.
    pub fn refuse(&self, call: &str, with: Error) {
        self.refusals.lock().unwrap().push((call.to_owned(), with));
    }

    /// Refuses nothing any more.
    pub fn relent(&self) {
        self.refusals.lock().unwrap().clear();
    }

    fn called(&self, what: &str, file: &str, id: usize) -> Result {
        self.busy.sleep(id);
        let call = format!("{what} {file}");
        let refusals = self.refusals.lock().unwrap();
        let refusal = refusals.iter().find(|(it, _)| *it == call);
        self.calls.lock().unwrap().push(call);
        refusal.map_or(Ok(()), |(_, err)| Err(*err))
    }
}

fn label(file: &File) -> String {
    let contents = memfd::contents(file).unwrap();
    String::from_utf8_lossy(&contents).into_owned()
}

fn label_of(retrieval: Retrieval<'_>) -> String {
    match retrieval {
        Retrieval::Waiting(_) => "untried".to_owned(),
        Retrieval::Failed(err) => format!("failed {err:?}"),
        Retrieval::Done(file) => label(file),
    }
}

impl FileOps for Probe {
    fn compatible(&self) -> &str {
        self.memfd.compatible()
    }

    fn module(&self) -> &Module {
        self.memfd.module()
    }

    fn can_preserve(&self, file: &File) -> bool {
        self.memfd.can_preserve(file)
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        self.called("preserve", &label(file), file.addr())?;
        self.memfd.preserve(file)
    }

    fn unpreserve(&self, file: &File, saved: Saved) {
        self.called("unpreserve", &label(file), file.addr())
            .unwrap();
        self.memfd.unpreserve(file, saved);
    }

    fn freeze(&self, file: &File, saved: &mut Saved) -> Result {
        self.called("freeze", &label(file), file.addr())?;
        self.memfd.freeze(file, saved)
    }

    fn unfreeze(&self, file: &File, saved: Saved) {
        self.called("unfreeze", &label(file), file.addr()).unwrap();
        self.memfd.unfreeze(file, saved);
    }

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        self.called("retrieve", "untried", data as usize)?;
        self.memfd.retrieve(data)
    }

    fn may_repeat(&self, _: Error) -> bool {
        self.lets_repeat.load(Ordering::Relaxed)
    }

    fn carry(&self, data: u64) -> Result<u64> {
        if !self.passes_on.load(Ordering::Relaxed) {
            return Err(EBUSY);
        }
        self.called("carry", "untried", data as usize)?;
        self.memfd.carry(data)
    }

    fn uncarry(&self, data: u64) {
        self.called("uncarry", "untried", data as usize).unwrap();
        self.memfd.uncarry(data);
    }

    fn can_finish(&self, data: u64, retrieval: Retrieval<'_>) -> bool {
        let id = data as usize;
        self.called("can_finish", &label_of(retrieval), id).is_ok()
    }

    fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        let id = data as usize;
        self.called("finish", &label_of(retrieval), id).unwrap();
        self.memfd.finish(data, retrieval);
    }
}
