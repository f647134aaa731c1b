// SPDX-License-Identifier: GPL-2.0-only

//! The steps of the boot, and what two kernels tell each other of themselves.

use crate::{
    areas::{self, Sizes},
    incoming, outgoing,
    restore::restore,
    show,
};
use kernel::{
    bindings, early_param,
    ffi::{c_int, CStr},
    initcall,
    kho::{self, boot::Memory, fdt::Page, mark, scratch, Preserved, Restored},
    page::PAGE_SIZE,
    prelude::*,
    str::kstrtobool,
    sync::atomic::{ordering::Relaxed, Atomic},
};

/// Set by `kho=`, and taken back if it turns out to be impossible.
static ENABLED: Atomic<bool> = Atomic::new(cfg!(CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT));

/// Set by `kho_scratch=`: percent, or else sizes.
static PERCENT: Atomic<u32> = Atomic::new(Sizes::DEFAULT_PERCENT);
static FIXED: [Atomic<u64>; 3] = [const { Atomic::new(0) }; 3];

/// Whether scratch memory is that of the previous kernel.
static IS_ADOPTED: Atomic<bool> = Atomic::new(false);

early_param!("kho", parse_enabled);
early_param!("kho_scratch", parse_sizes);

fn parse_enabled(value: &CStr) -> Result {
    ENABLED.store(kstrtobool(value)?, Relaxed);
    Ok(())
}

fn parse_sizes(value: &CStr) -> Result {
    let sizes = value.to_str().map_err(|_| EINVAL).and_then(Sizes::parse);
    match sizes {
        Ok(Sizes::Percent(percent)) => {
            PERCENT.store(percent, Relaxed);
            FIXED.iter().for_each(|it| it.store(0, Relaxed));
            Ok(())
        }
        Ok(Sizes::Fixed(fixed)) => {
            FIXED
                .iter()
                .zip(fixed)
                .for_each(|(it, size)| it.store(size, Relaxed));
            Ok(())
        }
        Err(err) => {
            pr_err!("kho_scratch= takes N% or LOW,ANY,NODE, sizes in bytes or with a suffix: not {:?}\n", value);
            Err(err)
        }
    }
}

fn sizes() -> Sizes {
    match FIXED.each_ref().map(|it| it.load(Relaxed)) {
        [0, 0, 0] => Sizes::Percent(PERCENT.load(Relaxed)),
        fixed => Sizes::Fixed(fixed),
    }
}

/// Whether anything can be handed over.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Relaxed)
}

/// Chooses scratch memory, or keeps what the previous kernel preserved.
///
/// # Safety
///
/// As for [`Memory::at_boot`].
pub(crate) unsafe fn memory_init() {
    // SAFETY: It reads a flag that is set by now.
    if unsafe { bindings::kho_boot_is_kdump() } {
        ENABLED.store(false, Relaxed);
        return;
    }
    // SAFETY: The caller's promise; it is called once.
    if let Err(err) = unsafe { scratch::remember_memory() } {
        pr_err!("nothing can be preserved: {:?}\n", err);
    }
    // SAFETY: The caller's promise.
    let is_adopted = unsafe { scratch::use_adopted() };
    IS_ADOPTED.store(is_adopted, Relaxed);
    if is_adopted {
        // SAFETY: The caller's promise.
        let restored = unsafe { Memory::at_boot() }.and_then(|it| restore_from(&it));
        if let Err(err) = restored {
            pr_err!("what the previous kernel preserved is lost: {:?}\n", err);
            incoming::forget();
        }
    } else if is_enabled() {
        // SAFETY: The caller's promise; it is called once.
        let reserved = unsafe { scratch::Plan::at_boot() }.and_then(|mut plan| {
            areas::reserve(&mut plan, sizes())?;
            plan.keep();
            Ok(())
        });
        if let Err(err) = reserved {
            pr_err!("nothing can be handed over: no scratch memory: {:?}\n", err);
            ENABLED.store(false, Relaxed);
        }
    }
}

fn restore_from(memory: &Memory) -> Result {
    let (_kept, tally) = restore(memory, incoming::memory_map())?;
    tally.report();
    let page = incoming::tree_phys().ok_or(EINVAL)?.0 / PAGE_SIZE as u64;
    if memory.mark(page) != mark::mark(mark::CLAIMABLE, 0) {
        pr_err!("the device tree itself is not preserved\n");
        return Err(EINVAL);
    }
    show::remember(tally);
    Ok(())
}

const METADATA: &CStr = c"kexec-metadata";
const VERSION: u32 = 1;

/// What a kernel tells the next one of itself: `struct kho_kexec_metadata`.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes)]
struct Metadata {
    version: u32,
    release: [u8; 65],
    kexec_count: u32,
}

/// How many kernels there were before this one; its page is given back.
fn kexec_count() -> u32 {
    let metadata = incoming::retrieve(METADATA).and_then(|(address, size)| {
        if size < size_of::<Metadata>() as u64 {
            return Err(EINVAL);
        }
        Restored::<Metadata>::claim(address)
    });
    let metadata = match metadata {
        Ok(metadata) => *metadata,
        // It is not needed.
        Err(err) if err == ENOENT => return 0,
        Err(err) => {
            pr_warn!("the previous kernel says nothing of itself: {:?}\n", err);
            return 0;
        }
    };
    let Metadata {
        version,
        kexec_count,
        ..
    } = metadata;
    if version != VERSION {
        pr_warn!(
            "what the previous kernel says of itself has version {}\n",
            version
        );
        return 0;
    }
    let release = metadata.release;
    match CStr::from_bytes_until_nul(&release) {
        Ok(release) => pr_info!("after {:?}, kexec {}\n", release, kexec_count),
        Err(_) => pr_info!("kexec {}\n", kexec_count),
    }
    kexec_count
}

fn publish_metadata(kexec_count: u32) -> Result {
    let mut metadata = Preserved::<Metadata>::new()?;
    metadata.version = VERSION;
    metadata.kexec_count = kexec_count.wrapping_add(1);
    // SAFETY: No requirements; the text does not change.
    let release = unsafe { CStr::from_ptr(bindings::kho_release().cast()) }.to_bytes();
    let len = release.len().min(metadata.release.len() - 1);
    metadata.release[..len].copy_from_slice(&release[..len]);
    kho::add_subtree(METADATA, &metadata)?;
    core::mem::forget(metadata);
    Ok(())
}

initcall!("5", kho_rust_init);

/// Makes what the next kernel gets, when there is memory for it.
#[no_mangle]
extern "C" fn kho_rust_init() -> c_int {
    if !is_enabled() {
        return 0;
    }
    let is_adopted = IS_ADOPTED.load(Relaxed);
    let folder = show::incoming();
    if let Some(address) = incoming::tree_phys() {
        // It is looked at for as long as the kernel runs.
        core::mem::forget(Restored::<Page>::claim(address));
    }
    let made = outgoing::init(folder).and_then(|()| publish_metadata(kexec_count()));
    match made {
        // SAFETY: Once; areas that were not adopted are those of a plan.
        Ok(()) if !is_adopted => unsafe { scratch::lend() },
        Ok(()) => {}
        Err(err) => {
            pr_err!("nothing can be handed over: {:?}\n", err);
            ENABLED.store(false, Relaxed);
            if !is_adopted {
                // SAFETY: As above.
                unsafe { scratch::give_up() };
            }
            return err.to_errno();
        }
    }
    0
}
