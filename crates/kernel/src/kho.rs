// SPDX-License-Identifier: GPL-2.0-only

//! Kexec handover: pages that the next kernel finds as this one left them.

pub mod boot;
pub mod extent;
pub mod mark;
pub mod node;
pub mod scratch;

use crate::{
    error::{Result, code::*},
    host::{arena::OwnedPage, machine},
};
use core::{
    ffi::CStr,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};
use zerocopy::FromBytes;

pub use crate::host::arena::PAGE_SIZE;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysAddr(pub u64);

/// Whether the kernel of [`host::kexec`](crate::host::kexec) gets what is preserved.
#[must_use]
pub fn image_carries_kho() -> bool {
    *machine::current().image_carries_kho.lock()
}

/// A zeroed page, owned by this kernel and preserved for the next, seen as a `T`.
///
/// Dropping it unpreserves and frees the page.
pub struct Preserved<T: FromBytes>(OwnedPage, PhantomData<T>);

impl<T: FromBytes> Preserved<T> {
    /// Allocates a zeroed page and preserves it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        let page = OwnedPage::alloc()?;
        page.preserve()?;
        Ok(Self(page, PhantomData))
    }

    /// The address by which the next kernel finds the page.
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(self.0.pa())
    }
}

impl<T: FromBytes> Deref for Preserved<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.view()
    }
}

impl<T: FromBytes> DerefMut for Preserved<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.view_mut()
    }
}

/// A page that the previous kernel preserved, claimed and owned, seen as a `T`.
///
/// Dropping it frees the page. Its contents come from another kernel: any bytes may be in it.
pub struct Restored<T: FromBytes>(OwnedPage, PhantomData<T>);

impl<T: FromBytes> Restored<T> {
    /// Claims the preserved page at `addr`. A page can be claimed once.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `addr` is not the address of exactly one preserved, unclaimed page.
    pub fn claim(addr: PhysAddr) -> Result<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        let page = OwnedPage::claim(addr.0).ok_or(EINVAL)?;
        Ok(Self(page, PhantomData))
    }
}

impl<T: FromBytes> Deref for Restored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.view()
    }
}

/// Publishes a preserved page under `name`, as a blob of `size_of::<T>()` bytes.
///
/// # Errors
///
/// `EEXIST` if the name is taken.
pub fn add_subtree<T: FromBytes>(name: &CStr, page: &Preserved<T>) -> Result {
    let machine = machine::current();
    let mut subtrees = machine.outgoing_subtrees.lock();
    if subtrees.contains_key(name) {
        return Err(EEXIST);
    }
    subtrees.insert(name.to_owned(), (page.phys().0, size_of::<T>()));
    Ok(())
}

/// Finds the blob that the previous kernel published under `name`: its address and size.
///
/// # Errors
///
/// `ENOENT` if there is none.
pub fn retrieve_subtree(name: &CStr) -> Result<(PhysAddr, usize)> {
    let machine = machine::current();
    let &(addr, size) = machine.incoming_subtrees.get(name).ok_or(ENOENT)?;
    Ok((PhysAddr(addr), size))
}
