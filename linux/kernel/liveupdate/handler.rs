// SPDX-License-Identifier: GPL-2.0-only

//! Which file handlers there are, what FLBs they depend on, and which files are preserved.

use crate::{abi::MAX_FLBS, flb::outgoing::Outgoing as OutgoingFlb};
use kernel::{
    fs::File,
    liveupdate::{ActiveFlb, ActiveHandler, FileHandler, Flb, COMPATIBLE_LEN},
    new_mutex, new_rwsem,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{rwsem::RwSem, Arc, Mutex},
};

/// A registered handler and the FLBs linked to it, in the order of their registration.
struct Entry {
    handler: FileHandler,
    flbs: KVec<Arc<OutgoingFlb>>,
}

/// All handlers, and all FLBs that any of them is linked to.
struct Tables {
    handlers: KVec<Entry>,
    flbs: KVec<Arc<OutgoingFlb>>,
}

impl Tables {
    fn handler(&mut self, handler: FileHandler) -> Option<&mut Entry> {
        self.handlers.iter_mut().find(|it| it.handler == handler)
    }

    /// The state of `flb`, made and entered if this is its first link.
    fn enter_flb(&mut self, flb: Flb) -> Result<Arc<OutgoingFlb>> {
        if let Some(known) = self.flbs.iter().find(|it| it.flb() == flb) {
            return Ok(known.clone());
        }
        if self.flbs.len() == MAX_FLBS {
            return Err(ENOSPC);
        }
        let name = flb.compatible();
        if self.flbs.iter().any(|it| it.flb().compatible() == name) {
            return Err(EEXIST);
        }
        let made = OutgoingFlb::new(flb)?;
        self.flbs.push(made.clone(), GFP_KERNEL)?;
        Ok(made)
    }

    /// Forgets the FLBs that no handler is linked to.
    fn drop_unlinked_flbs(&mut self) {
        let handlers = &self.handlers;
        self.flbs.retain(|flb| {
            let mut links = handlers.iter().flat_map(|it| it.flbs.iter());
            links.any(|it| Arc::ptr_eq(it, flb))
        });
    }
}

/// The handlers, and the files they hold.
///
/// No callback but the light `can_preserve` runs with the lock of the tables held.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    tables: RwSem<Tables>,
    /// The ids of all files that are preserved or retrieved.
    #[pin]
    ids: Mutex<RBTree<usize, ()>>,
}

impl Registry {
    /// A registry without handlers.
    pub(crate) fn new() -> impl PinInit<Self> {
        let tables = Tables {
            handlers: KVec::new(),
            flbs: KVec::new(),
        };
        pin_init!(Self {
            tables <- new_rwsem!(tables, "luo_registry"),
            ids <- new_mutex!(RBTree::new(), "luo_file_ids"),
        })
    }

    /// Adds a handler.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the compatibility string is taken, `ENOMEM`.
    pub(crate) fn register(&self, handler: FileHandler) -> Result {
        let mut tables = self.tables.write();
        let compatible = handler.compatible();
        if tables
            .handlers
            .iter()
            .any(|it| it.handler.compatible() == compatible)
        {
            return Err(EEXIST);
        }
        let flbs = KVec::new();
        tables.handlers.push(Entry { handler, flbs }, GFP_KERNEL)?;
        Ok(())
    }

    /// Removes a handler and its links. Files of it that are preserved keep its module.
    pub(crate) fn unregister(&self, handler: FileHandler) {
        let mut tables = self.tables.write();
        tables.handlers.retain(|it| it.handler != handler);
        tables.drop_unlinked_flbs();
    }

    /// Links an FLB to a handler.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the handler is not registered, `EEXIST` if the link exists or another FLB has
    /// the name, `ENOSPC` if there are as many FLBs as the format can carry, `ENOMEM`.
    pub(crate) fn link(&self, handler: FileHandler, flb: Flb) -> Result {
        let mut tables = self.tables.write();
        let entry = tables.handler(handler).ok_or(EINVAL)?;
        if entry.flbs.iter().any(|it| it.flb() == flb) {
            return Err(EEXIST);
        }
        entry.flbs.reserve(1, GFP_KERNEL)?;
        let outgoing = tables.enter_flb(flb)?;
        let entry = tables.handler(handler).ok_or(EINVAL)?;
        entry.flbs.push(outgoing, GFP_KERNEL)?;
        Ok(())
    }

    /// Removes the link of an FLB to a handler.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such link.
    pub(crate) fn unlink(&self, handler: FileHandler, flb: Flb) -> Result {
        let mut tables = self.tables.write();
        let entry = tables.handler(handler).ok_or(ENOENT)?;
        let before = entry.flbs.len();
        entry.flbs.retain(|it| it.flb() != flb);
        let removed = entry.flbs.len() < before;
        tables.drop_unlinked_flbs();
        removed.then_some(()).ok_or(ENOENT)
    }

    /// The outgoing state of `flb`, if any handler is linked to it.
    pub(crate) fn outgoing_flb(&self, flb: Flb) -> Option<Arc<OutgoingFlb>> {
        let tables = self.tables.read();
        let found = tables.flbs.iter().find(|it| it.flb() == flb)?;
        Some(found.clone())
    }

    /// The FLB number `index` of all that are linked, in the order of their registration.
    pub(crate) fn nth_flb(&self, index: usize) -> Option<Arc<OutgoingFlb>> {
        self.tables.read().flbs.get(index).cloned()
    }

    /// The FLB number `index` of `handler`, held.
    pub(crate) fn nth_flb_of(&self, handler: FileHandler, index: usize) -> Option<ActiveFlb> {
        let tables = self.tables.read();
        let entry = tables.handlers.iter().find(|it| it.handler == handler)?;
        entry.flbs.get(index)?.flb().get()
    }

    /// How many FLBs are linked to `handler`.
    pub(crate) fn nr_flbs_of(&self, handler: FileHandler) -> usize {
        let tables = self.tables.read();
        let entry = tables.handlers.iter().find(|it| it.handler == handler);
        entry.map_or(0, |it| it.flbs.len())
    }

    /// Finds the handler that takes care of `file`, and holds it and its FLBs' states.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none, or its module is being unloaded; `ENOMEM`.
    pub(crate) fn find_for(&self, file: &File) -> Result<(ActiveHandler, KVec<Arc<OutgoingFlb>>)> {
        let tables = self.tables.read();
        let entry = tables
            .handlers
            .iter()
            .find(|it| it.handler.can_preserve(file))
            .ok_or(ENOENT)?;
        let mut flbs = KVec::with_capacity(entry.flbs.len(), GFP_KERNEL)?;
        for flb in &entry.flbs {
            flbs.push(flb.clone(), GFP_KERNEL)?;
        }
        Ok((entry.handler.get().ok_or(ENOENT)?, flbs))
    }

    /// Finds the handler by the name that the previous kernel wrote down.
    pub(crate) fn find_compatible(
        &self,
        compatible: &[u8; COMPATIBLE_LEN],
    ) -> Option<ActiveHandler> {
        let tables = self.tables.read();
        let entry = tables
            .handlers
            .iter()
            .find(|it| it.handler.compatible() == *compatible)?;
        entry.handler.get()
    }
}

/// The claim that a file is in LUO's hands, so that nobody preserves it a second time.
pub(crate) struct Claim {
    registry: Arc<Registry>,
    id: usize,
}

/// Memory for a [`Claim`], taken while failing is still cheap.
pub(crate) struct ClaimReservation(RBTreeNodeReservation<usize, ()>);

impl ClaimReservation {
    /// Reserves the memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }

    /// Claims `id`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is claimed already.
    pub(crate) fn claim(self, registry: &Arc<Registry>, id: usize) -> Result<Claim> {
        let mut ids = registry.ids.lock();
        if ids.get(&id).is_some() {
            return Err(EBUSY);
        }
        ids.insert(self.0.into_node(id, ()));
        Ok(Claim {
            registry: registry.clone(),
            id,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let node = self.registry.ids.lock().remove_node(&self.id);
        drop(node);
    }
}
