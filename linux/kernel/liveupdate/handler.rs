// SPDX-License-Identifier: GPL-2.0-only

//! Which file handlers there are, what FLBs they depend on, and which files are preserved.

use crate::{
    abi::MAX_FLBS,
    flb::outgoing::{HeldFlb, Outgoing as OutgoingFlb},
};
use kernel::{
    fs::File,
    liveupdate::{ActiveFlb, ActiveHandler, FileHandler, Flb, COMPATIBLE_LEN},
    new_mutex, new_rwsem,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{rwsem::RwSem, Arc, Mutex},
};

/// An FLB in a list.
struct Link {
    /// Larger than those before it, and never used again: who goes through the list leaves the
    /// lock between two links, and the places of links change meanwhile.
    number: u64,
    flb: Arc<OutgoingFlb>,
}

/// A registered handler and the FLBs linked to it, in the order of their registration.
struct Entry {
    handler: FileHandler,
    flbs: KVec<Link>,
}

impl Entry {
    fn hold_flbs(&self) -> Result<KVec<HeldFlb>> {
        let mut flbs = KVec::with_capacity(self.flbs.len(), GFP_KERNEL)?;
        for link in &self.flbs {
            let held = link.flb.flb().get().ok_or(ENODEV)?;
            flbs.push((link.flb.clone(), held), GFP_KERNEL)?;
        }
        Ok(flbs)
    }
}

/// All handlers, and all FLBs that any of them is linked to.
struct Tables {
    handlers: KVec<Entry>,
    flbs: KVec<Link>,
    last_number: u64,
}

impl Tables {
    fn handler(&mut self, handler: FileHandler) -> Option<&mut Entry> {
        self.handlers.iter_mut().find(|it| it.handler == handler)
    }

    /// The state of `flb`, made and entered if this is its first link.
    fn enter_flb(&mut self, flb: Flb) -> Result<Arc<OutgoingFlb>> {
        if let Some(known) = self.flbs.iter().find(|it| it.flb.flb() == flb) {
            return Ok(known.flb.clone());
        }
        if self.flbs.len() == MAX_FLBS {
            return Err(ENOSPC);
        }
        let name = flb.compatible();
        if self.flbs.iter().any(|it| it.flb.flb().compatible() == name) {
            return Err(EEXIST);
        }
        let made = OutgoingFlb::new(flb)?;
        let link = self.link(made.clone());
        self.flbs.push(link, GFP_KERNEL)?;
        Ok(made)
    }

    fn link(&mut self, flb: Arc<OutgoingFlb>) -> Link {
        self.last_number += 1;
        let number = self.last_number;
        Link { number, flb }
    }

    /// Forgets the FLBs that no handler is linked to, unless somebody uses what is kept of them.
    fn drop_unlinked_flbs(&mut self) {
        let handlers = &self.handlers;
        self.flbs.retain(|known| {
            let mut links = handlers.iter().flat_map(|it| it.flbs.iter());
            links.any(|it| Arc::ptr_eq(&it.flb, &known.flb)) || known.flb.is_in_use()
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
            last_number: 0,
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
        if entry.flbs.iter().any(|it| it.flb.flb() == flb) {
            return Err(EEXIST);
        }
        entry.flbs.reserve(1, GFP_KERNEL)?;
        let outgoing = tables.enter_flb(flb)?;
        let link = tables.link(outgoing);
        let entry = tables.handler(handler).ok_or(EINVAL)?;
        entry.flbs.push(link, GFP_KERNEL)?;
        Ok(())
    }

    /// Removes the link of an FLB to a handler.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such link.
    pub(crate) fn unlink(&self, handler: FileHandler, flb: Flb) -> Result {
        let mut tables = self.tables.write();
        let removed = tables.handler(handler).is_some_and(|entry| {
            let before = entry.flbs.len();
            entry.flbs.retain(|it| it.flb.flb() != flb);
            entry.flbs.len() < before
        });
        // Without a link, too: this is where an FLB goes that was in use when its last link went.
        tables.drop_unlinked_flbs();
        removed.then_some(()).ok_or(ENOENT)
    }

    /// The outgoing state of `flb`, if any handler is linked to it.
    pub(crate) fn outgoing_flb(&self, flb: Flb) -> Option<Arc<OutgoingFlb>> {
        let tables = self.tables.read();
        let found = tables.flbs.iter().find(|it| it.flb.flb() == flb)?;
        Some(found.flb.clone())
    }

    /// Of all FLBs that are linked the first whose number is above `last`, and its number.
    pub(crate) fn flb_after(&self, last: u64) -> Option<(u64, Arc<OutgoingFlb>)> {
        let tables = self.tables.read();
        let link = tables.flbs.iter().find(|it| it.number > last)?;
        Some((link.number, link.flb.clone()))
    }

    /// Of the FLBs of `handler` the last whose number is below `last`, held, and its number. Those
    /// whose module is being unloaded are left out.
    pub(crate) fn flb_before(&self, handler: FileHandler, last: u64) -> Option<(u64, ActiveFlb)> {
        let tables = self.tables.read();
        let entry = tables.handlers.iter().find(|it| it.handler == handler)?;
        let mut links = entry.flbs.iter().rev().filter(|it| it.number < last);
        links.find_map(|it| Some((it.number, it.flb.flb().get()?)))
    }

    /// Finds the handler that takes care of `file`, and holds it and its FLBs.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none, or its module is being unloaded; `ENODEV` if an FLB's is;
    /// `ENOMEM`.
    pub(crate) fn find_for(&self, file: &File) -> Result<(ActiveHandler, KVec<HeldFlb>)> {
        let tables = self.tables.read();
        let entry = tables
            .handlers
            .iter()
            .find(|it| it.handler.can_preserve(file))
            .ok_or(ENOENT)?;
        let handler = entry.handler.get().ok_or(ENOENT)?;
        Ok((handler, entry.hold_flbs()?))
    }

    /// The FLBs that files of `handler` depend on, held.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module of one is being unloaded; `ENOMEM`.
    pub(crate) fn flbs_of(&self, handler: FileHandler) -> Result<KVec<HeldFlb>> {
        let tables = self.tables.read();
        let entry = tables.handlers.iter().find(|it| it.handler == handler);
        entry.map_or(Ok(KVec::new()), Entry::hold_flbs)
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
