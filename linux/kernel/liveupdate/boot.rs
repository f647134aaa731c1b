// SPDX-License-Identifier: GPL-2.0-only

//! The `liveupdate=` parameter and the steps of the boot.

use crate::{device::LiveupdateDevice, reboot::Remains, Luo};
use core::ffi::CStr;
use kernel::{
    bindings, debugfs, early_param,
    ffi::c_int,
    fmt,
    fs::handle::Device,
    initcall, kho,
    prelude::*,
    str::kstrtobool,
    sync::atomic::{ordering::Relaxed, Atomic},
};

/// Set by `liveupdate=`; taken back if live update turns out to be impossible.
static ENABLED: Atomic<bool> = Atomic::new(false);

static DEVICE: Device<LiveupdateDevice> = Device::new(c"liveupdate");

/// Whether live update is on.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Relaxed)
}

early_param!("liveupdate", set_enabled);

/// Parses the value of `liveupdate=`.
fn set_enabled(value: &CStr) -> Result {
    ENABLED.store(kstrtobool(value)?, Relaxed);
    Ok(())
}

initcall!("early", luo_rust_early_init);
initcall!("7", luo_rust_late_init);

/// Finds what the previous kernel left, before anybody else gets at its memory.
#[no_mangle]
extern "C" fn luo_rust_early_init() -> c_int {
    if !kho::is_enabled() {
        if is_enabled() {
            pr_warn!("live update is off: it needs kexec handover, which is off\n");
        }
        ENABLED.store(false, Relaxed);
        return 0;
    }
    match Remains::restore().and_then(Luo::new) {
        Ok(luo) => {
            crate::INSTANCE.populate(luo);
            0
        }
        Err(err) => {
            pr_err!(
                "what the previous kernel left cannot be restored: {:?}\n",
                err
            );
            // SAFETY: The format takes no arguments. The call does not return.
            unsafe {
                bindings::panic(
                    c"luo: devices may still write to memory that is lost"
                        .as_ptr()
                        .cast(),
                )
            }
        }
    }
}

/// Makes `luo/incoming` in debugfs. Nothing depends on it, so its failure is no failure.
fn show_in_debugfs(luo: &'static Luo) {
    let folder = debugfs::Dir::new(c"luo");
    let show: &'static _ = &|luo: &&'static Luo, f: &mut fmt::Formatter<'_>| luo.show_incoming(f);
    let file = folder.read_callback_file(c"incoming", luo, show);
    if let Ok(file) = KBox::pin_init(file, GFP_KERNEL) {
        // It stays for as long as the kernel runs.
        core::mem::forget(file);
    }
}

/// Prepares what this kernel leaves, and opens the door to user space.
#[no_mangle]
extern "C" fn luo_rust_late_init() -> c_int {
    let Some(luo) = crate::instance().filter(|_| is_enabled()) else {
        return 0;
    };
    match luo.publish_root().and_then(|()| DEVICE.register()) {
        Ok(()) => {
            show_in_debugfs(luo);
            0
        }
        Err(err) => {
            pr_err!("live update is off: {:?}\n", err);
            ENABLED.store(false, Relaxed);
            err.to_errno()
        }
    }
}
