// SPDX-License-Identifier: GPL-2.0-only

//! What C calls while the kernel boots.

use crate::{
    restore::{release, restore, Released, Tally},
    scratch,
};
use kernel::{
    ffi::c_int,
    kho::{
        boot::{Kept, Memory},
        PhysAddr,
    },
    prelude::*,
};

/// Finds what the previous kernel preserved, and keeps it apart. Returns 0, or an errno if it cannot.
///
/// # Safety
///
/// As for [`Memory::at_boot`].
#[no_mangle]
unsafe extern "C" fn kho_rust_restore(root: u64) -> c_int {
    // SAFETY: The caller's promise.
    let memory = unsafe { Memory::at_boot() };
    match memory.and_then(|it| restore(&it, PhysAddr(root))) {
        Ok((_kept, tally)) => {
            report(&tally);
            0
        }
        Err(err) => {
            pr_err!("what the previous kernel preserved is lost: {:?}\n", err);
            err.to_errno()
        }
    }
}

fn report(tally: &Tally) {
    pr_info!(
        "{} pages preserved in {} extents; {} pages kept in {} ranges\n",
        tally.pages,
        tally.extents,
        tally.kept,
        tally.runs
    );
    for (number, what) in [
        (
            tally.absent,
            "extents are not in the memory that this kernel booted with",
        ),
        (tally.scratch, "extents lie where this kernel allocates"),
        (tally.crossing, "extents reach beyond free memory"),
        (tally.broken, "entries of the tree stand for nothing"),
        (tally.unkept, "pages cannot be kept for lack of memory"),
    ] {
        if number > 0 {
            pr_err!("{} {}: what was there is lost\n", number, what);
        }
    }
    if tally.used > 0 {
        pr_info!("{} extents are in use already\n", tally.used);
    }
}

/// Gives the allocator what is not preserved of the memory that was kept.
///
/// # Safety
///
/// As for [`Kept::release`].
#[no_mangle]
unsafe extern "C" fn kho_rust_release() {
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

/// Lets the kernel that boots allocate wherever nothing is preserved.
///
/// # Safety
///
/// As for [`Memory::at_boot`].
#[no_mangle]
unsafe extern "C" fn kho_rust_extend_scratch(root: u64) {
    // SAFETY: The caller's promise.
    let memory = unsafe { Memory::at_boot() };
    let extended = memory.and_then(|memory| {
        scratch::find(&memory, PhysAddr(root))?.try_for_each(|range| {
            // SAFETY: That is what was looked for.
            unsafe { memory.add_scratch(range) }
        })
    });
    if let Err(err) = extended {
        pr_err!("scratch memory stays as it is: {:?}\n", err);
    }
}
