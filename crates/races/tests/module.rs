// SPDX-License-Identifier: GPL-2.0-only

//! A module with a handler or an FLB, which can be unloaded while it is not held.

use kernel::{
    fs::File,
    host,
    liveupdate::{FileHandler, FileOps, Flb, FlbObject, FlbOps, Module, Retrieval, Saved},
    prelude::*,
    sync::aref::ARef,
};
use luo::host_api;
use luo_simulation::{probe::Probe, shared::Shared};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is in a module; nothing of it may be called once the module is gone.
pub(crate) struct Loaded<T: 'static> {
    inner: &'static T,
    gone: AtomicBool,
}

impl<T> Loaded<T> {
    pub(crate) fn new(inner: &'static T) -> &'static Self {
        let gone = AtomicBool::new(false);
        Box::leak(Box::new(Self { inner, gone }))
    }

    fn get(&self) -> &'static T {
        assert!(
            !self.gone.load(Ordering::Relaxed),
            "called after it is gone"
        );
        self.inner
    }

    /// `delete_module(2)`: refused while the module is held, and then nobody can hold it any more
    /// and it `leaves`. Tells whether it is gone.
    fn unload(&self, module: &Module, leave: impl FnOnce() -> Result) -> bool {
        if module.refs() > 0 {
            return false;
        }
        module.begin_unload();
        host::point();
        assert_eq!(leave(), Ok(()));
        self.gone.store(true, Ordering::Relaxed);
        true
    }
}

impl Loaded<Probe> {
    pub(crate) fn unload_handler(&'static self) -> bool {
        self.unload(self.inner.module(), || {
            host_api::unregister_file_handler(FileHandler::new(self))
        })
    }
}

impl Loaded<Shared> {
    pub(crate) fn unload_flb(&'static self, handler: FileHandler) -> bool {
        self.unload(self.inner.module(), || {
            host_api::unregister_flb(handler, Flb::new(self))
        })
    }
}

impl FileOps for Loaded<Probe> {
    fn compatible(&self) -> &str {
        self.get().compatible()
    }

    fn module(&self) -> &Module {
        self.get().module()
    }

    fn can_preserve(&self, file: &File) -> bool {
        self.get().can_preserve(file)
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        self.get().preserve(file)
    }

    fn unpreserve(&self, file: &File, saved: Saved) {
        self.get().unpreserve(file, saved);
    }

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        self.get().retrieve(data)
    }

    fn can_finish(&self, data: u64, retrieval: Retrieval<'_>) -> bool {
        self.get().can_finish(data, retrieval)
    }

    fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        self.get().finish(data, retrieval);
    }
}

impl FlbOps for Loaded<Shared> {
    fn compatible(&self) -> &str {
        self.get().compatible()
    }

    fn module(&self) -> &Module {
        self.get().module()
    }

    fn preserve(&self) -> Result<(u64, FlbObject)> {
        self.get().preserve()
    }

    fn unpreserve(&self, data: u64, obj: FlbObject) {
        self.get().unpreserve(data, obj);
    }

    fn retrieve(&self, data: u64) -> Result<FlbObject> {
        self.get().retrieve(data)
    }

    fn finish(&self, data: u64, obj: FlbObject) {
        self.get().finish(data, obj);
    }
}
