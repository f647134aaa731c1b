// SPDX-License-Identifier: GPL-2.0-only

//! What C calls while the kernel boots.

use crate::{
    incoming, init,
    restore::{release, Released},
    scratch,
};
use kernel::{
    kho::{
        boot::{Kept, Memory},
        scratch::use_adopted,
    },
    prelude::*,
};

/// Takes what the boot loader says the previous kernel hands over.
///
/// # Safety
///
/// The kernel begins to boot, on one processor.
#[no_mangle]
unsafe extern "C" fn kho_populate(tree: u64, tree_len: u64, array: u64, array_len: u64) {
    // SAFETY: The caller's promise.
    unsafe { incoming::populate((tree, tree_len), (array, array_len)) };
}

/// Chooses scratch memory, or keeps what the previous kernel preserved.
///
/// # Safety
///
/// As for [`Memory::at_boot`].
#[no_mangle]
unsafe extern "C" fn kho_memory_init() {
    // SAFETY: The caller's promise.
    unsafe { init::memory_init() };
}

/// Lets the kernel that boots allocate wherever nothing is preserved. Called where the kernel can do with that: from 7.3 on.
///
/// # Safety
///
/// As for [`Memory::at_boot`].
#[no_mangle]
unsafe extern "C" fn kho_memory_init_early() {
    // SAFETY: The caller's promise.
    if !unsafe { use_adopted() } {
        return;
    }
    // SAFETY: The caller's promise.
    let memory = unsafe { Memory::at_boot() };
    let extended = memory.and_then(|memory| {
        scratch::find(&memory, incoming::memory_map())?.try_for_each(|range| {
            // SAFETY: That is what was looked for.
            unsafe { memory.add_scratch(range) }
        })
    });
    if let Err(err) = extended {
        pr_err!("scratch memory stays as it is: {:?}\n", err);
    }
}

/// Gives the allocator what is not preserved of the memory that was kept.
///
/// # Safety
///
/// As for [`Kept::release`].
#[no_mangle]
unsafe extern "C" fn kho_memory_release() {
    let mut released = Released::default();
    // SAFETY: The caller's promise.
    unsafe { Kept::release(|range| release(range, &mut released)) };
    if released.lost > 0 {
        pr_err!(
            "{} extents lie in each other: {} pages are lost, and leaked\n",
            released.lost,
            released.leaked
        );
    }
}
