// SPDX-License-Identifier: GPL-2.0-only

//! Handlers and FLBs that keep books: every handle they give out goes through its life once, and in order, or they panic.

use crate::EDOM;
use kernel::{
    fs::File,
    host::{self, memfd},
    liveupdate::{FileOps, FlbObject, FlbOps, Module, Retrieval, Saved},
    prelude::*,
    sync::aref::ARef,
};
use luo_model::{Callback, Flb, Handler, Image};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// Which callbacks fail.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    refusing: BTreeSet<Callback>,
    countdown: Option<usize>,
    refused: Option<Callback>,
}

impl Refusals {
    /// Lets a callback refuse.
    pub fn refuse(&self, callback: Callback) {
        self.0.lock().unwrap().refusing.insert(callback);
    }

    /// Lets none refuse any more.
    pub fn relent(&self) {
        self.0.lock().unwrap().refusing.clear();
    }

    /// Lets the callback after the next `successes` refuse, once; `None` cancels that. Gives what was set before and has not
    /// happened yet.
    pub fn fail_after(&self, successes: Option<usize>) -> Option<usize> {
        core::mem::replace(&mut self.0.lock().unwrap().countdown, successes)
    }

    /// The callback that has refused so, and forgets it.
    pub fn refused(&self) -> Option<Callback> {
        self.0.lock().unwrap().refused.take()
    }

    fn call(&self, callback: Callback) -> Result {
        let mut state = self.0.lock().unwrap();
        if state.countdown == Some(0) {
            state.refused = Some(callback);
        }
        let fails = state.countdown == Some(0) || state.refusing.contains(&callback);
        state.countdown = state.countdown.and_then(|it| it.checked_sub(1));
        match fails {
            true => Err(EDOM),
            false => Ok(()),
        }
    }
}

/// The life of a file's handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Preserved,
    Frozen,
    /// Handed over and passed on, without having been retrieved.
    Carried,
    HandedOver,
    Retrieved,
    Failed,
}

/// A handler for files of one kind.
pub struct FileLedger {
    handler: Handler,
    name: String,
    memfd: memfd::Handler,
    refusals: Refusals,
    handles: Mutex<BTreeMap<u64, Stage>>,
}

impl FileLedger {
    /// That of `handler`.
    pub fn new(handler: Handler, refusals: &Refusals) -> &'static Self {
        Box::leak(Box::new(Self {
            handler,
            name: compatible(handler),
            memfd: memfd::Handler::new(""),
            refusals: refusals.clone(),
            handles: Mutex::default(),
        }))
    }

    /// How many handles are alive.
    pub fn nr_handles(&self) -> usize {
        self.handles.lock().unwrap().len()
    }

    /// The next kernel runs.
    pub fn jump(&self, image: Image) {
        self.memfd.rebooted();
        let mut handles = self.handles.lock().unwrap();
        for stage in handles.values_mut() {
            let is_taken = matches!(*stage, Stage::Frozen | Stage::Carried);
            assert!(is_taken, "left behind by the jump: {stage:?}");
            assert_eq!(image, Image::WithHandover, "lost by the jump");
            *stage = Stage::HandedOver;
        }
    }

    fn step(&self, data: u64, from: Stage, to: Option<Stage>) {
        let mut handles = self.handles.lock().unwrap();
        let before = handles.remove(&data);
        assert_eq!(before, Some(from), "handle {data:#x}, on the way to {to:?}");
        handles.extend(to.map(|it| (data, it)));
    }
}

/// The compatibility string of a handler.
pub fn compatible(handler: Handler) -> String {
    format!("model-{}", handler.0)
}

/// What file `number` of the handler holds.
pub fn contents(handler: Handler, number: u32, nr_pages: usize) -> Vec<u8> {
    let line = format!("{} {number}\n", handler.0).into_bytes();
    // Not whole pages, so that the size counts, too.
    let len = nr_pages * kernel::kho::PAGE_SIZE - 1;
    line.iter().copied().cycle().take(len).collect()
}

/// The number of the file that holds this.
pub fn number(held: &[u8]) -> u32 {
    let line = held.split(|it| *it == b'\n').next().unwrap();
    let line = str::from_utf8(line).unwrap();
    let (handler, number) = line.split_once(' ').unwrap();
    let (handler, number) = (Handler(handler.parse().unwrap()), number.parse().unwrap());
    let nr_pages = held.len().div_ceil(kernel::kho::PAGE_SIZE);
    assert!(
        held == contents(handler, number, nr_pages),
        "file {number} is garbled"
    );
    number
}

impl FileOps for FileLedger {
    fn compatible(&self) -> &str {
        &self.name
    }

    fn module(&self) -> &Module {
        self.memfd.module()
    }

    fn can_preserve(&self, file: &File) -> bool {
        let own = format!("{} ", self.handler.0);
        memfd::contents(file).is_ok_and(|it| it.starts_with(own.as_bytes()))
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        self.refusals.call(Callback::Preserve(self.handler))?;
        let saved = self.memfd.preserve(file)?;
        let before = self
            .handles
            .lock()
            .unwrap()
            .insert(saved.data, Stage::Preserved);
        assert_eq!(before, None);
        Ok(saved)
    }

    fn unpreserve(&self, file: &File, saved: Saved) {
        self.step(saved.data, Stage::Preserved, None);
        self.memfd.unpreserve(file, saved);
    }

    fn freeze(&self, file: &File, saved: &mut Saved) -> Result {
        self.refusals.call(Callback::Freeze(self.handler))?;
        self.step(saved.data, Stage::Preserved, Some(Stage::Frozen));
        self.memfd.freeze(file, saved)
    }

    fn unfreeze(&self, file: &File, saved: Saved) {
        self.step(saved.data, Stage::Frozen, Some(Stage::Preserved));
        self.memfd.unfreeze(file, saved);
    }

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        if let Err(err) = self.refusals.call(Callback::Retrieve(self.handler)) {
            self.step(data, Stage::HandedOver, Some(Stage::Failed));
            return Err(err);
        }
        self.step(data, Stage::HandedOver, Some(Stage::Retrieved));
        // A handler that gets no memory gives up its data for good. What is looked at here is what LUO does without.
        let armed = host::fail_allocation(None);
        let file = self.memfd.retrieve(data);
        host::fail_allocation(armed);
        file
    }

    fn carry(&self, data: u64) -> Result<u64> {
        if !self.handler.passes_on() {
            return Err(EBUSY);
        }
        self.refusals.call(Callback::Carry(self.handler))?;
        let carried = self.memfd.carry(data)?;
        assert_eq!(carried, data);
        self.step(data, Stage::HandedOver, Some(Stage::Carried));
        Ok(carried)
    }

    fn uncarry(&self, data: u64) {
        self.step(data, Stage::Carried, Some(Stage::HandedOver));
        self.memfd.uncarry(data);
    }

    fn can_finish(&self, _: u64, _: Retrieval<'_>) -> bool {
        self.refusals
            .call(Callback::CanFinish(self.handler))
            .is_ok()
    }

    fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        let stage = match retrieval {
            Retrieval::Waiting(_) => Stage::HandedOver,
            Retrieval::Failed(_) => Stage::Failed,
            Retrieval::Done(_) => Stage::Retrieved,
        };
        self.step(data, stage, None);
        self.memfd.finish(data, retrieval);
    }
}

/// An FLB.
pub struct FlbLedger {
    flb: Flb,
    name: String,
    module: Module,
    refusals: Refusals,
    lives: Mutex<Lives>,
}

#[derive(Default)]
struct Lives {
    /// How often it was preserved: the handle, too.
    nr_preserved: u64,
    outgoing: Option<u64>,
    /// The handle, and whether the object was made.
    incoming: Option<(u64, bool)>,
    is_finished: bool,
}

impl FlbLedger {
    /// That of `flb`.
    pub fn new(flb: Flb, refusals: &Refusals) -> &'static Self {
        Box::leak(Box::new(Self {
            flb,
            name: format!("model-flb-{}", flb.0),
            module: Module::default(),
            refusals: refusals.clone(),
            lives: Mutex::default(),
        }))
    }

    /// The next kernel runs.
    pub fn jump(&self) {
        let mut lives = self.lives.lock().unwrap();
        lives.incoming = lives.outgoing.take().map(|data| (data, false));
        lives.is_finished = false;
    }

    /// Whether it was finished in this kernel.
    pub fn is_finished(&self) -> bool {
        self.lives.lock().unwrap().is_finished
    }

    fn object(&self, data: u64) -> FlbObject {
        FlbObject((usize::from(self.flb.0) + 1) << 32 | data as usize)
    }
}

impl FlbOps for FlbLedger {
    fn compatible(&self) -> &str {
        &self.name
    }

    fn module(&self) -> &Module {
        &self.module
    }

    fn preserve(&self) -> Result<(u64, FlbObject)> {
        self.refusals.call(Callback::FlbPreserve(self.flb))?;
        let mut lives = self.lives.lock().unwrap();
        lives.nr_preserved += 1;
        let data = lives.nr_preserved;
        assert_eq!(lives.outgoing.replace(data), None, "preserved twice");
        Ok((data, self.object(data)))
    }

    fn unpreserve(&self, data: u64, obj: FlbObject) {
        assert_eq!(self.lives.lock().unwrap().outgoing.take(), Some(data));
        assert_eq!(obj, self.object(data));
    }

    fn retrieve(&self, data: u64) -> Result<FlbObject> {
        self.refusals.call(Callback::FlbRetrieve(self.flb))?;
        let made = self.lives.lock().unwrap().incoming.replace((data, true));
        assert_eq!(made, Some((data, false)), "handed over and not retrieved");
        Ok(self.object(data))
    }

    fn finish(&self, data: u64, obj: FlbObject) {
        let mut lives = self.lives.lock().unwrap();
        assert_eq!(lives.incoming.take(), Some((data, true)));
        lives.is_finished = true;
        assert_eq!(obj, self.object(data));
    }
}
