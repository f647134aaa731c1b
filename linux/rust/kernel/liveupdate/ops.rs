// SPDX-License-Identifier: GPL-2.0-only

//! File handlers that are written in Rust.

use super::{padded_const, COMPATIBLE_LEN};
use crate::{
    bindings,
    error::{from_result, to_result},
    ffi::{c_int, c_ulong},
    fs::File,
    prelude::*,
    str::CStr,
    sync::aref::ARef,
    types::ForeignOwnable,
};
use core::{marker::PhantomData, ptr};

/// Why a file could not be retrieved.
pub enum Failure<C> {
    /// For good; nothing is kept but what is leaked.
    Final(Error),
    /// It may be repeated; this is what has been claimed meanwhile.
    Transient(Error, Option<KBox<C>>),
}

/// What comes of an attempt to retrieve a file.
pub type Attempt<T, C> = Result<T, Failure<C>>;

/// What a file handler does.
pub trait FileOps: 'static {
    /// The compatibility string; it has to fit into [`COMPATIBLE_LEN`] bytes.
    const COMPATIBLE: &'static CStr;

    /// What is kept of a preserved file.
    type Preserved: Send + 'static;

    /// What is kept of a file that was not retrieved at the first attempt.
    type Claimed: Send + 'static;

    /// Whether the handler can take care of `file`. Must not take long.
    fn can_preserve(file: &File) -> bool;

    /// What identifies the object behind `file`, so that it is not preserved twice.
    fn id(file: &File) -> usize;

    /// Saves the state of `file`; gives the handle for the next kernel too.
    ///
    /// # Errors
    ///
    /// Nothing is kept then.
    fn preserve(file: &File) -> Result<(u64, KBox<Self::Preserved>)>;

    /// Undoes [`preserve`](Self::preserve).
    fn unpreserve(file: &File, preserved: KBox<Self::Preserved>);

    /// Last call before the jump.
    ///
    /// # Errors
    ///
    /// The file is as it was then.
    fn freeze(file: &File, preserved: &mut Self::Preserved) -> Result;

    /// Undoes [`freeze`](Self::freeze).
    fn unfreeze(file: &File, preserved: &mut Self::Preserved);

    /// Makes the file anew. `claimed` is what an earlier attempt gave.
    ///
    /// # Errors
    ///
    /// See [`Failure`].
    fn retrieve(
        data: u64,
        claimed: Option<KBox<Self::Claimed>>,
    ) -> Attempt<ARef<File>, Self::Claimed>;

    /// Preserves a file that nobody has retrieved for the next kernel; gives the handle for it.
    /// `claimed` is what an earlier attempt to retrieve it gave.
    ///
    /// # Errors
    ///
    /// See [`Failure`].
    fn carry(
        data: u64,
        claimed: Option<KBox<Self::Claimed>>,
    ) -> Attempt<(u64, KBox<Self::Claimed>), Self::Claimed>;

    /// Undoes [`carry`](Self::carry).
    fn uncarry(claimed: &mut Self::Claimed);

    /// Discards a file that nobody has retrieved.
    fn discard(data: u64, claimed: Option<KBox<Self::Claimed>>);
}

/// A handler, to be registered.
pub struct Handler<T: FileOps> {
    raw: bindings::liveupdate_file_handler,
    _ops: PhantomData<T>,
}

// SAFETY: LUO only reads the structure, and the callbacks may be called from any task.
unsafe impl<T: FileOps> Sync for Handler<T> {}

impl<T: FileOps> Handler<T> {
    const OPS: bindings::liveupdate_file_ops = bindings::liveupdate_file_ops {
        can_preserve: Some(Self::can_preserve),
        preserve: Some(Self::preserve),
        unpreserve: Some(Self::unpreserve),
        freeze: Some(Self::freeze),
        unfreeze: Some(Self::unfreeze),
        retrieve: Some(Self::retrieve),
        carry: Some(Self::carry),
        uncarry: Some(Self::uncarry),
        can_finish: None,
        finish: Some(Self::finish),
        get_id: Some(Self::id),
        // Handlers in Rust are part of the kernel's image.
        owner: ptr::null_mut(),
    };

    /// The handler of `T`.
    pub const fn new() -> Self {
        Self {
            raw: bindings::liveupdate_file_handler {
                ops: &Self::OPS,
                compatible: padded_const::<COMPATIBLE_LEN>(T::COMPATIBLE),
                ..pin_init::zeroed()
            },
            _ops: PhantomData,
        }
    }

    /// Registers it for as long as the kernel runs.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if live update is off; `EEXIST` if the compatibility string is taken; `ENOMEM`.
    pub fn register(&'static self) -> Result {
        let raw = ptr::from_ref(&self.raw).cast_mut();
        // SAFETY: The structure is never freed, and has all callbacks that are required.
        to_result(unsafe { bindings::liveupdate_register_file_handler(raw) })
    }

    unsafe extern "C" fn can_preserve(
        _: *mut bindings::liveupdate_file_handler,
        file: *mut bindings::file,
    ) -> bool {
        // SAFETY: The file is there for the call, and LUO has none whose position is locked.
        T::can_preserve(unsafe { File::from_raw_file(file) })
    }

    unsafe extern "C" fn id(file: *mut bindings::file) -> c_ulong {
        // SAFETY: As for `can_preserve`.
        T::id(unsafe { File::from_raw_file(file) }) as c_ulong
    }

    unsafe extern "C" fn preserve(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        // SAFETY: The arguments are valid for the call.
        let args = unsafe { &mut *args };
        from_result(|| {
            // SAFETY: As for `can_preserve`.
            let (data, preserved) = T::preserve(unsafe { File::from_raw_file(args.file) })?;
            args.serialized_data = data;
            args.private_data = preserved.into_foreign();
            Ok(0)
        })
    }

    unsafe extern "C" fn unpreserve(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: The arguments are valid for the call; the private data is that of `preserve`, and
        // this is its last use.
        unsafe {
            let preserved = KBox::from_foreign((*args).private_data);
            T::unpreserve(File::from_raw_file((*args).file), preserved);
        }
    }

    unsafe extern "C" fn freeze(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        // SAFETY: The arguments are valid for the call; the private data is that of `preserve`, and
        // used by one call at a time.
        from_result(|| unsafe {
            let preserved = &mut *(*args).private_data.cast::<T::Preserved>();
            T::freeze(File::from_raw_file((*args).file), preserved).map(|()| 0)
        })
    }

    unsafe extern "C" fn unfreeze(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: As for `freeze`.
        unsafe {
            let preserved = &mut *(*args).private_data.cast::<T::Preserved>();
            T::unfreeze(File::from_raw_file((*args).file), preserved);
        }
    }

    /// What an earlier attempt left in the arguments.
    ///
    /// # Safety
    ///
    /// The private data has to be null or that of a retrieval, and this its last use.
    unsafe fn take_claimed(
        args: &mut bindings::liveupdate_file_op_args,
    ) -> Option<KBox<T::Claimed>> {
        let claimed = core::mem::replace(&mut args.private_data, ptr::null_mut());
        // SAFETY: The caller's promise.
        unsafe { KBox::try_from_foreign(claimed) }
    }

    unsafe extern "C" fn retrieve(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        // SAFETY: The arguments are valid for the call.
        let args = unsafe { &mut *args };
        // SAFETY: What was taken is put back only with something new.
        let claimed = unsafe { Self::take_claimed(args) };
        match T::retrieve(args.serialized_data, claimed) {
            Ok(file) => {
                args.file = ARef::into_raw(file).as_ptr().cast();
                0
            }
            Err(Failure::Final(err)) => err.to_errno(),
            Err(Failure::Transient(err, claimed)) => {
                if let Some(claimed) = claimed {
                    args.private_data = claimed.into_foreign();
                }
                args.retrieve_status = err.to_errno();
                err.to_errno()
            }
        }
    }

    unsafe extern "C" fn carry(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        // SAFETY: The arguments are valid for the call.
        let args = unsafe { &mut *args };
        // SAFETY: What was taken is put back only with something new.
        let claimed = unsafe { Self::take_claimed(args) };
        let (result, claimed) = match T::carry(args.serialized_data, claimed) {
            Ok((data, claimed)) => {
                args.serialized_data = data;
                (0, Some(claimed))
            }
            Err(Failure::Final(err)) => (err.to_errno(), None),
            Err(Failure::Transient(err, claimed)) => (err.to_errno(), claimed),
        };
        if let Some(claimed) = claimed {
            args.private_data = claimed.into_foreign();
        }
        result
    }

    unsafe extern "C" fn uncarry(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: The arguments are valid for the call; the private data is that of `carry`, and used
        // by one call at a time.
        unsafe { T::uncarry(&mut *(*args).private_data.cast::<T::Claimed>()) };
    }

    unsafe extern "C" fn finish(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: The arguments are valid for the call.
        let args = unsafe { &mut *args };
        if args.retrieve_status == 0 {
            // SAFETY: This is the last use.
            let claimed = unsafe { Self::take_claimed(args) };
            T::discard(args.serialized_data, claimed);
        }
    }
}
