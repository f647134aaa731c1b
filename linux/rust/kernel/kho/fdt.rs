// SPDX-License-Identifier: GPL-2.0-only

//! Device trees of one page, by libfdt.
//!
//! C header: [`include/linux/libfdt.h`](srctree/include/linux/libfdt.h)

use crate::{
    bindings,
    ffi::{c_int, c_void},
    page::PAGE_SIZE,
    prelude::*,
    str::{CStr, CStrExt as _},
};
use core::{ptr::NonNull, slice};

/// A page, aligned as trees have to be.
#[repr(C, align(4096))]
#[derive(FromBytes)]
pub struct Page(pub [u8; PAGE_SIZE]);

fn checked(code: c_int) -> Result<c_int> {
    match code {
        0.. => Ok(code),
        _ if code == -(bindings::FDT_ERR_EXISTS as c_int) => Err(EEXIST),
        _ if code == -(bindings::FDT_ERR_NOTFOUND as c_int) => Err(ENOENT),
        _ if code == -(bindings::FDT_ERR_NOSPACE as c_int) => Err(ENOMEM),
        _ => Err(EINVAL),
    }
}

/// A tree that can be read, whatever is in it.
///
/// # Invariants
///
/// The memory stays as it is for `'a`. It begins with a header that is right, by which the tree ends in it.
#[derive(Clone, Copy)]
pub struct Fdt<'a>(&'a [u8]);

impl<'a> Fdt<'a> {
    /// The tree in some memory.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none.
    pub fn new(memory: &'a [u8]) -> Result<Self> {
        let total = memory.get(4..8).ok_or(EINVAL)?;
        let total = u32::from_be_bytes(total.try_into().map_err(|_| EINVAL)?) as usize;
        if total > memory.len() || memory.len() < size_of::<bindings::fdt_header>() {
            return Err(EINVAL);
        }
        // SAFETY: There is room for a header.
        checked(unsafe { bindings::fdt_check_header(memory.as_ptr().cast()) })?;
        // INVARIANT: It was checked.
        Ok(Self(memory))
    }

    fn raw(self) -> *const c_void {
        self.0.as_ptr().cast()
    }

    /// The bytes of the tree.
    pub fn bytes(self) -> &'a [u8] {
        let total = [self.0[4], self.0[5], self.0[6], self.0[7]];
        &self.0[..u32::from_be_bytes(total) as usize]
    }

    /// The node at the top.
    pub fn root(self) -> Node<'a> {
        Node(self, 0)
    }
}

/// A node of a tree.
#[derive(Clone, Copy)]
pub struct Node<'a>(Fdt<'a>, c_int);

impl<'a> Node<'a> {
    /// The node of this name below it.
    pub fn child(self, name: &CStr) -> Option<Self> {
        // SAFETY: libfdt looks at nothing beyond the tree, by the type invariant of `Fdt`.
        let found =
            unsafe { bindings::fdt_subnode_offset(self.0.raw(), self.1, name.as_char_ptr()) };
        Some(Self(self.0, checked(found).ok()?))
    }

    /// The nodes below it.
    pub fn children(self) -> impl Iterator<Item = Self> {
        // SAFETY: As for `child`.
        let first = unsafe { bindings::fdt_first_subnode(self.0.raw(), self.1) };
        let mut next = checked(first).ok();
        core::iter::from_fn(move || {
            let node = next?;
            // SAFETY: As for `child`.
            next = checked(unsafe { bindings::fdt_next_subnode(self.0.raw(), node) }).ok();
            Some(Self(self.0, node))
        })
    }

    /// Its name.
    pub fn name(self) -> Option<&'a CStr> {
        let mut len = 0;
        // SAFETY: As for `child`.
        let name = unsafe { bindings::fdt_get_name(self.0.raw(), self.1, &mut len) };
        let name = NonNull::new(name.cast_mut())?;
        // SAFETY: It is in the tree, with a NUL behind it.
        let bytes = unsafe { slice::from_raw_parts(name.as_ptr().cast(), len as usize + 1) };
        CStr::from_bytes_with_nul(bytes).ok()
    }

    /// The value of a property.
    pub fn property(self, name: &CStr) -> Option<&'a [u8]> {
        let mut len = 0;
        // SAFETY: As for `child`.
        let value =
            unsafe { bindings::fdt_getprop(self.0.raw(), self.1, name.as_char_ptr(), &mut len) };
        let value = NonNull::new(value.cast_mut())?;
        // SAFETY: It is in the tree.
        Some(unsafe { slice::from_raw_parts(value.as_ptr().cast(), len as usize) })
    }

    /// The number that a property is.
    pub fn number(self, name: &CStr) -> Option<u64> {
        Some(u64::from_ne_bytes(self.property(name)?.try_into().ok()?))
    }
}

/// A tree that can be changed: a page.
///
/// # Invariants
///
/// The page has a tree in it.
pub struct FdtMut<P>(P);

impl<P: core::ops::DerefMut<Target = Page>> FdtMut<P> {
    /// A tree with properties and no nodes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no room for them.
    pub fn new(mut page: P, properties: &[(&CStr, &[u8])]) -> Result<Self> {
        let raw = page.0.as_mut_ptr().cast();
        // SAFETY: That is the page's size.
        checked(unsafe { bindings::fdt_create_empty_tree(raw, PAGE_SIZE as c_int) })?;
        // INVARIANT: There is one now.
        let mut tree = Self(page);
        tree.change(|tree| tree.set(0, properties))?;
        Ok(tree)
    }

    /// The tree as it is.
    pub fn tree(&self) -> Result<Fdt<'_>> {
        Fdt::new(&self.0 .0)
    }

    fn raw(&mut self) -> *mut c_void {
        self.0 .0.as_mut_ptr().cast()
    }

    /// The page.
    pub fn page(&self) -> &P {
        &self.0
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let raw = self.raw();
        // SAFETY: By the type invariant; that is the page's size.
        checked(unsafe { bindings::fdt_open_into(raw, raw, PAGE_SIZE as c_int) })?;
        let changed = change(self);
        // SAFETY: By the type invariant.
        checked(unsafe { bindings::fdt_pack(raw) })?;
        changed
    }

    fn set(&mut self, node: c_int, properties: &[(&CStr, &[u8])]) -> Result {
        for (name, value) in properties {
            let (raw, name) = (self.raw(), name.as_char_ptr());
            let (value, len) = (value.as_ptr().cast(), value.len() as c_int);
            // SAFETY: By the type invariant; the value has this length.
            checked(unsafe { bindings::fdt_setprop(raw, node, name, value, len) })?;
        }
        Ok(())
    }

    /// Adds a node with properties below the top.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`: all is as before.
    pub fn add(&mut self, name: &CStr, properties: &[(&CStr, &[u8])]) -> Result {
        self.change(|tree| {
            // SAFETY: By the type invariant.
            let added = unsafe { bindings::fdt_add_subnode(tree.raw(), 0, name.as_char_ptr()) };
            let node = checked(added)?;
            tree.set(node, properties).inspect_err(|_| {
                // SAFETY: By the type invariant. The node is there.
                unsafe { bindings::fdt_del_node(tree.raw(), node) };
            })
        })
    }

    /// Removes the node below the top one of whose properties is a number.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    pub fn remove(&mut self, property: &CStr, number: u64) -> Result {
        self.change(|tree| {
            let is_it = |it: &Node<'_>| it.number(property) == Some(number);
            let Node(_, node) = tree.tree()?.root().children().find(is_it).ok_or(ENOENT)?;
            // SAFETY: By the type invariant.
            checked(unsafe { bindings::fdt_del_node(tree.raw(), node) }).map(drop)
        })
    }
}
