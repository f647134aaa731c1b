// SPDX-License-Identifier: GPL-2.0-only

//! Registration with the Live Update Orchestrator, at boot.

use crate::handler::Memfd;
use kernel::{ffi::c_int, initcall, liveupdate::ops::Handler, prelude::*};

static HANDLER: Handler<Memfd> = Handler::new();

initcall!("7", memfd_luo_init);

#[no_mangle]
extern "C" fn memfd_luo_init() -> c_int {
    match HANDLER.register() {
        Err(err) if err != crate::not_supported() => {
            pr_err!("memfds cannot be preserved: {:?}\n", err);
            err.to_errno()
        }
        _ => 0,
    }
}
