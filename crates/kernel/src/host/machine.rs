// SPDX-License-Identifier: GPL-2.0-only

//! The machine of a thread.

use super::{arena::Arena, arena::PAGE_SIZE, fd::Descriptors, user::Memory};
use crate::{error::Result, fs::File, sync::aref::ARef};
use core::{any::Any, cell::RefCell, ffi::CStr};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    sync::{self, MutexGuard, PoisonError},
};

/// A lock of the simulation itself. Lockdep does not see it, and no other task runs while it is held.
#[derive(Default)]
pub(crate) struct Lock<T>(sync::Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often something succeeds before it fails, once.
#[derive(Default)]
pub(crate) struct Countdown(Lock<Option<usize>>);

impl Countdown {
    /// Counts one; tells whether it succeeds.
    pub(crate) fn succeeds(&self) -> bool {
        let mut left = self.0.lock();
        let fails = *left == Some(0);
        *left = left.and_then(|it| it.checked_sub(1));
        !fails
    }

    fn replace(&self, successes: Option<usize>) -> Option<usize> {
        core::mem::replace(&mut *self.0.lock(), successes)
    }
}

type OpenDevice = sync::Arc<dyn Fn() -> Result<ARef<File>> + Send + Sync>;
/// Addresses and sizes, by name.
type Subtrees = BTreeMap<CString, (u64, usize)>;

/// One kernel, running.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) arena: Lock<Arena>,
    pub(crate) statics: Lock<HashMap<usize, &'static (dyn Any + Send + Sync)>>,
    pub(crate) devices: Lock<HashMap<&'static CStr, OpenDevice>>,
    pub(crate) fds: Lock<Descriptors>,
    pub(crate) user: Lock<Memory>,
    pub(crate) incoming_subtrees: Subtrees,
    pub(crate) outgoing_subtrees: Lock<Subtrees>,
    pub(crate) image_carries_kho: Lock<bool>,
    pub(crate) failing_allocation: Countdown,
    pub(crate) failing_copy: Countdown,
    pub(crate) killing: Countdown,
    pub(crate) log: Lock<String>,
}

thread_local! {
    static CURRENT: RefCell<sync::Arc<Machine>> = RefCell::default();
}

/// This thread's machine.
pub(crate) fn current() -> sync::Arc<Machine> {
    CURRENT.with_borrow(sync::Arc::clone)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Power off: nobody closes anything.
        core::mem::forget(core::mem::take(&mut *self.fds.lock()));
    }
}

/// A kernel that is loaded to be started by kexec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// By `kexec_file_load(2)`: it is told what is preserved.
    WithHandover,
    /// By `kexec_load(2)`: it knows nothing.
    WithoutHandover,
}

/// Loads an image. Before the first call none is loaded that could take anything over.
pub fn load_image(image: Image) {
    *current().image_carries_kho.lock() = image == Image::WithHandover;
}

/// Jumps into the loaded image, without asking anybody: a machine with nothing but the preserved
/// pages becomes this thread's. Whatever the old kernel had open is gone without being closed.
pub fn kexec() {
    let old = current();
    let mut new = Machine::default();
    let arena = core::mem::take(&mut *old.arena.lock()).into_inherited();
    if *old.image_carries_kho.lock() {
        new.arena = Lock(sync::Mutex::new(arena));
        new.incoming_subtrees = core::mem::take(&mut *old.outgoing_subtrees.lock());
    }
    CURRENT.set(sync::Arc::new(new));
}

/// The address and the size of what this kernel has published for the next one under `name`.
#[must_use]
pub fn published(name: &CStr) -> Option<(u64, usize)> {
    current().outgoing_subtrees.lock().get(name).copied()
}

/// What the kernel has logged since it was started, and forgets it.
#[must_use]
pub fn console() -> String {
    core::mem::take(&mut *current().log.lock())
}

/// Lets the allocation after the next `successes` fail, once; `None` cancels that. Gives what was
/// set before and has not happened yet.
pub fn fail_allocation(successes: Option<usize>) -> Option<usize> {
    current().failing_allocation.replace(successes)
}

/// The same for copies from and to user memory.
pub fn fail_copy(successes: Option<usize>) -> Option<usize> {
    current().failing_copy.replace(successes)
}

/// Kills the calling task after so many occasions at which it could be; `None` cancels that. Gives what was set before and
/// has not happened yet.
pub fn kill(occasions: Option<usize>) -> Option<usize> {
    current().killing.replace(occasions)
}

/// How many physical pages are owned, preserved, or inherited and not claimed.
#[must_use]
pub fn pages_in_use() -> usize {
    current().arena.lock().pages_in_use()
}

/// A copy of the physical page at `pa`, if there is one. Its owner must not be at work.
#[must_use]
pub fn peek(pa: u64) -> Option<[u8; PAGE_SIZE]> {
    let machine = current();
    let arena = machine.arena.lock();
    // SAFETY: The page has this many bytes, lives as long as the arena is locked, and by the
    // contract nobody writes it meanwhile.
    arena.bytes(pa, |page| unsafe { page.cast::<[u8; PAGE_SIZE]>().read() })
}

/// Overwrites bytes of the physical page at `pa`, as a hostile previous kernel might have. Its
/// owner must not be at work.
///
/// # Panics
///
/// If there is no such page, or not so many bytes in it.
pub fn poke(pa: u64, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= PAGE_SIZE);
    let machine = current();
    let arena = machine.arena.lock();
    // SAFETY: The range is inside the page, which lives as long as the arena is locked, and by the
    // contract nobody accesses it meanwhile.
    let write = |page: *mut u8| unsafe { page.add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    arena.bytes(pa, write).expect("no page at this address");
}
