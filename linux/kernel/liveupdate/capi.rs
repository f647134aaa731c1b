// SPDX-License-Identifier: GPL-2.0-only

//! The functions that `include/linux/liveupdate.h` declares, for the rest of the kernel.

use crate::{boot, Luo};
use kernel::{
    bindings,
    ffi::{c_int, c_void},
    liveupdate::{FileHandler, Flb, FlbObject},
    prelude::*,
};

#[cfg(CONFIG_LIVEUPDATE_TEST)]
extern "C" {
    /// Links the FLBs of `lib/tests/liveupdate.c` to a `struct liveupdate_file_handler`.
    fn liveupdate_test_register(fh: *mut c_void);
}

fn luo() -> Result<&'static Luo> {
    crate::instance()
        .filter(|_| boot::is_enabled())
        .ok_or(not_supported())
}

/// "Operation not supported". The `kernel` crate has no name for it.
fn not_supported() -> Error {
    Error::from_errno(-95)
}

fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// Returns whether live update is on.
#[export]
pub(crate) extern "C" fn liveupdate_enabled() -> bool {
    boot::is_enabled()
}

/// Hands all sessions over to the next kernel, or refuses the kexec.
///
/// Context: `kernel_kexec()`, with the kexec lock held.
#[export]
pub(crate) extern "C" fn liveupdate_reboot() -> c_int {
    match luo() {
        Ok(luo) => errno(luo.hand_over()),
        Err(_) => 0,
    }
}

/// Registers a file handler: `EOPNOTSUPP`, `EINVAL`, `EEXIST`, `ENOMEM`. May sleep.
///
/// # Safety
///
/// `fh` must be valid until it is unregistered and its module unloaded.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_register_file_handler(
    fh: *mut bindings::liveupdate_file_handler,
) -> c_int {
    let register = || {
        let luo = luo()?;
        // SAFETY: The caller's promise; files that LUO holds keep the module.
        luo.registry.register(unsafe { FileHandler::from_raw(fh) }?)
    };
    let registered = register();
    #[cfg(CONFIG_LIVEUPDATE_TEST)]
    if registered.is_ok() {
        // SAFETY: The handler is registered.
        unsafe { liveupdate_test_register(fh.cast()) };
    }
    errno(registered)
}

/// Unregisters a file handler and its links to FLBs. May sleep.
///
/// # Safety
///
/// `fh` must be registered.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_unregister_file_handler(
    fh: *mut bindings::liveupdate_file_handler,
) {
    if let Ok(luo) = luo() {
        // SAFETY: The handler is valid for the call and not kept.
        if let Ok(handler) = unsafe { FileHandler::from_raw(fh) } {
            luo.registry.unregister(handler);
        }
    }
}

/// Links an FLB to a registered handler: `EOPNOTSUPP`, `EINVAL`, `EEXIST`, `ENOSPC`, `ENOMEM`.
///
/// # Safety
///
/// Both must be valid until they are unregistered and their modules unloaded.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_register_flb(
    fh: *mut bindings::liveupdate_file_handler,
    flb: *mut bindings::liveupdate_flb,
) -> c_int {
    let link = || {
        let luo = luo()?;
        // SAFETY: The caller's promise; files that LUO holds keep both modules.
        let (handler, flb) = unsafe { (FileHandler::from_raw(fh)?, Flb::from_raw(flb)?) };
        luo.registry.link(handler, flb)
    };
    errno(link())
}

/// Removes the link of an FLB to a handler. May sleep.
///
/// # Safety
///
/// Both must be valid.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_unregister_flb(
    fh: *mut bindings::liveupdate_file_handler,
    flb: *mut bindings::liveupdate_flb,
) {
    let unlink = || {
        let luo = luo()?;
        // SAFETY: Both are valid for the call and not kept.
        let (handler, flb) = unsafe { (FileHandler::from_raw(fh)?, Flb::from_raw(flb)?) };
        luo.registry.unlink(handler, flb)
    };
    if unlink() == Err(ENOENT) {
        pr_warn!("an FLB is unregistered from a handler that it was not registered with\n");
    }
}

/// Borrows an object and stores it in `*objp`.
///
/// # Safety
///
/// `objp` must be valid for writes.
unsafe fn store(objp: *mut *mut c_void, borrowed: Result<FlbObject>) -> c_int {
    match borrowed {
        Ok(obj) => {
            // SAFETY: The caller's promise.
            unsafe { *objp = obj.0 };
            0
        }
        Err(err) => err.to_errno(),
    }
}

/// Borrows the object that came from the previous kernel: `EOPNOTSUPP`, `ENODATA` no live update
/// or finished, `ENOENT` nothing came, `ENODEV`, or the FLB's own error.
///
/// # Safety
///
/// `flb` must be valid and stay so until the object is given back; `objp` valid for writes.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_flb_get_incoming(
    flb: *mut bindings::liveupdate_flb,
    objp: *mut *mut c_void,
) -> c_int {
    let borrow = || {
        let luo = luo()?;
        // SAFETY: The caller's promise.
        let flb = unsafe { Flb::from_raw(flb) }?;
        luo.incoming_flbs.find(&flb.compatible())?.borrow(flb)
    };
    // SAFETY: The caller's promise.
    unsafe { store(objp, borrow()) }
}

/// Gives an incoming object back.
///
/// # Safety
///
/// `flb` must be valid.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_flb_put_incoming(flb: *mut bindings::liveupdate_flb) {
    let put = || {
        // SAFETY: The caller's promise.
        let flb = unsafe { Flb::from_raw(flb) }?;
        luo()?.incoming_flbs.find(&flb.compatible())?.give_back();
        Ok(())
    };
    warn_unbalanced(put());
}

/// Borrows the object that goes to the next kernel: `EOPNOTSUPP`, `ENOENT` nothing is preserved.
///
/// # Safety
///
/// `flb` must be valid; `objp` valid for writes.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_flb_get_outgoing(
    flb: *mut bindings::liveupdate_flb,
    objp: *mut *mut c_void,
) -> c_int {
    let borrow = || {
        let luo = luo()?;
        // SAFETY: The caller's promise.
        let flb = unsafe { Flb::from_raw(flb) }?;
        luo.registry.outgoing_flb(flb).ok_or(ENOENT)?.borrow()
    };
    // SAFETY: The caller's promise.
    unsafe { store(objp, borrow()) }
}

/// Gives an outgoing object back.
///
/// # Safety
///
/// `flb` must be valid.
#[export]
pub(crate) unsafe extern "C" fn liveupdate_flb_put_outgoing(flb: *mut bindings::liveupdate_flb) {
    let put = || {
        // SAFETY: The caller's promise.
        let flb = unsafe { Flb::from_raw(flb) }?;
        luo()?.registry.outgoing_flb(flb).ok_or(ENOENT)?.give_back();
        Ok(())
    };
    warn_unbalanced(put());
}

fn warn_unbalanced(put: Result) {
    if let Err(err) = put {
        pr_warn!(
            "an FLB object that was not borrowed is given back: {:?}\n",
            err
        );
    }
}
