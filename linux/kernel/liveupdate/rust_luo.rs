// SPDX-License-Identifier: GPL-2.0-only

//! The Live Update Orchestrator (LUO): files that outlive the kernel.
//!
//! User space groups files into sessions and preserves them; the next kernel, started by kexec,
//! gives them back. `Documentation/userspace-api/liveupdate.rst` describes the interface.
//!
//! # Principles
//!
//! - What is half restored is leaked, never unwound. A reboot sanitizes.
//! - Nothing that nobody has fetched is destroyed.
//! - Bytes of the previous kernel are checked before they are used; an address becomes a reference
//!   only by [`kernel::kho::Restored::claim`].
//! - No user memory is touched while a lock is held.
//!
//! # Locks, in the order in which they are taken
//!
//! 1. the gate ([`gate::Gate`]): changes go in, serialization waits until they are out;
//! 2. the tables of sessions: [`Luo::incoming`], then [`Luo::outgoing`];
//! 3. a session (the mutex in it, with its files);
//! 4. the root that the next kernel finds ([`Luo::root`]);
//! 5. the registry of handlers, or the ids of files: both only for a look, neither with the other;
//! 6. one life of one FLB.
//!
//! Handlers are called with 1 and 3 held (frozen with 1, 2 and 3), FLBs with 6 in addition.
//!
//! # Modules
//!
//! `abi`, `cursor` and `phase` are plain data and arithmetic. `boot`, `capi` and `device` connect
//! the rest to the kernel; only the first two of them have unsafe code.

#![recursion_limit = "256"]

mod abi;
mod block;
#[cfg(CONFIG_LIVEUPDATE)]
mod boot;
#[cfg(CONFIG_LIVEUPDATE)]
mod capi;
#[cfg(CONFIG_LIVEUPDATE_RUST_KUNIT_TEST)]
mod conformance;
mod cursor;
mod device;
mod file;
mod flb;
mod gate;
mod handler;
#[cfg(not(CONFIG_LIVEUPDATE))]
pub mod host_api;
mod ioctl;
mod phase;
mod reboot;
mod session;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex, SetOnce},
};

#[cfg(CONFIG_LIVEUPDATE)]
const __LOG_PREFIX: &[u8] = b"luo\0";

/// The kernel's LUO, from the first steps of the boot on.
static INSTANCE: SetOnce<Arc<Luo>> = SetOnce::new();

/// The kernel's LUO, unless kexec handover is off.
pub(crate) fn instance() -> Option<&'static Luo> {
    INSTANCE.as_ref().map(|luo| &**luo)
}

/// Everything LUO knows. The kernel has one, for as long as it runs.
#[pin_data]
pub(crate) struct Luo {
    #[pin]
    gate: gate::Gate,
    #[pin]
    outgoing: Mutex<session::outgoing::Table>,
    #[pin]
    incoming: Mutex<session::incoming::Table>,
    incoming_flbs: flb::incoming::IncomingFlbs,
    registry: Arc<handler::Registry>,
    #[pin]
    root: Mutex<Option<reboot::Root>>,
    device: device::Exclusive,
    remains: reboot::Remains,
}

impl Luo {
    /// LUO, with what the previous kernel left: `remains`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(remains: reboot::Remains) -> Result<Arc<Self>> {
        let registry = Arc::pin_init(handler::Registry::new(), GFP_KERNEL)?;
        let init = pin_init!(Self {
            gate <- gate::Gate::new(),
            outgoing <- new_mutex!(session::outgoing::Table::new(), "luo_outgoing"),
            incoming <- new_mutex!(
                session::incoming::Table::new(remains.sessions_pa()),
                "luo_incoming"
            ),
            incoming_flbs: flb::incoming::IncomingFlbs::restore(remains.flbs_pa()),
            registry,
            root <- new_mutex!(None, "luo_root"),
            device: device::Exclusive::new(),
            remains,
        });
        Arc::pin_init(init, GFP_KERNEL)
    }
}
