// SPDX-License-Identifier: GPL-2.0-only

//! Files whose only operations are ioctls: behind a misc device, or without any inode of their own.
//!
//! C headers: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h),
//! [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use crate::{
    bindings,
    error::{from_err_ptr, to_result},
    ffi::{c_int, c_long, c_uint, c_ulong},
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    str::CStr,
    sync::aref::ARef,
    types::{ForeignOwnable, Opaque},
};
use core::{marker::PhantomData, ptr::NonNull};

/// What an open file does. The implementing type is the file's private data.
///
/// The structures that the ioctls take must be the same for 32-bit callers.
pub trait Handle: Sized + Send + Sync {
    /// Handles an ioctl. Called without any lock.
    ///
    /// # Errors
    ///
    /// The errno that the caller gets.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result;

    /// Writes what `/proc/PID/fdinfo/FD` shows beyond the usual.
    fn show_fdinfo(&self, _m: &SeqFile) {}
}

/// A [`Handle`] that a misc device makes when it is opened.
pub trait Open: Handle {
    /// Makes the private data of a file that is being opened.
    ///
    /// # Errors
    ///
    /// The errno that `open(2)` gives.
    fn open() -> Result<Self>;
}

/// Makes a file named `name`, without an inode of its own, that owns `handle`.
///
/// # Errors
///
/// `ENOMEM` or `ENFILE`; `handle` is dropped.
pub fn anon_file<T: Handle>(name: &CStr, handle: KBox<T>) -> Result<ARef<File>> {
    let private = handle.into_foreign();
    // SAFETY: The name ends in NUL and is copied; the table is static; `private` is what its
    // functions expect.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(
            name.as_char_ptr(),
            &Table::<T>::ANON,
            private,
            bindings::O_RDWR as c_int,
        )
    });
    match file {
        // SAFETY: The file is new, its one reference is ours, and nobody has its position locked.
        // `File` has the layout of `struct file`.
        Ok(file) => Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) }),
        Err(err) => {
            // SAFETY: Without a file nobody else has the pointer.
            drop(unsafe { <KBox<T>>::from_foreign(private) });
            Err(err)
        }
    }
}

/// A registered misc device without a fixed minor. It stays for as long as the kernel runs.
pub struct Device<T: Open>(Opaque<bindings::miscdevice>, PhantomData<T>);

// SAFETY: After registration the misc core owns the contents.
unsafe impl<T: Open> Sync for Device<T> {}

impl<T: Open> Device<T> {
    /// Describes the device `name`.
    pub const fn new(name: &'static CStr) -> Self {
        let mut misc: bindings::miscdevice = pin_init::zeroed();
        misc.minor = bindings::MISC_DYNAMIC_MINOR as c_int;
        misc.name = crate::str::as_char_ptr_in_const_context(name);
        misc.fops = &Table::<T>::DEVICE;
        Self(Opaque::new(misc), PhantomData)
    }

    /// Registers the device. To be called once.
    ///
    /// # Errors
    ///
    /// What `misc_register()` gives: `EBUSY` without a free minor, `ENOMEM`.
    pub fn register(&'static self) -> Result {
        // SAFETY: The structure is static and complete.
        to_result(unsafe { bindings::misc_register(self.0.get()) })
    }
}

/// The operations of files whose private data is a `KBox<T>`.
struct Table<T>(PhantomData<T>);

impl<T: Handle> Table<T> {
    const ANON: bindings::file_operations = bindings::file_operations {
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        #[cfg(CONFIG_PROC_FS)]
        show_fdinfo: Some(Self::show_fdinfo),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `file` must be an open file of this table.
    unsafe fn borrow<'a>(file: *mut bindings::file) -> &'a T {
        // SAFETY: The caller's promise; the private data is set before the file can be reached and
        // stays until `release`, which comes after all other operations.
        unsafe { <KBox<T>>::borrow((*file).private_data) }
    }

    /// # Safety
    ///
    /// The VFS calls it, on a file of this table, once.
    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: This is the last operation on the file, so that the private data is ours.
        drop(unsafe { <KBox<T>>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// The VFS calls it, on an open file of this table.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: The VFS holds the file open for the call.
        match unsafe { Self::borrow(file) }.ioctl(cmd, arg) {
            Ok(()) => 0,
            Err(err) => err.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// The VFS calls it, on an open file of this table.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: The VFS holds the file open and lends `m` for the call.
        unsafe { Self::borrow(file).show_fdinfo(SeqFile::from_raw(m)) };
    }
}

impl<T: Open> Table<T> {
    const DEVICE: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        ..Self::ANON
    };

    /// # Safety
    ///
    /// The VFS calls it, on a file that is being opened.
    unsafe extern "C" fn open(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        let handle = T::open().and_then(|handle| Ok(KBox::new(handle, GFP_KERNEL)?));
        match handle {
            Ok(handle) => {
                // SAFETY: The private data of a file that is being opened is ours to set.
                unsafe { (*file).private_data = handle.into_foreign() };
                0
            }
            Err(err) => err.to_errno(),
        }
    }
}
