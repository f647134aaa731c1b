// SPDX-License-Identifier: GPL-2.0-only

//! What all code of a kernel imports.

pub use crate::{
    alloc::{GFP_KERNEL, KBox, KVVec, KVec},
    error::{Error, Result, code::*},
    fmt, pr_err, pr_info, pr_warn,
    uaccess::UserPtr,
};
pub use core::{
    ffi::CStr,
    mem::{align_of, size_of},
    pin::Pin,
};
pub use pinned_init::{Init, PinInit, pin_data, pin_init};
pub use zerocopy::{FromBytes, IntoBytes};
pub use zerocopy_derive::{FromBytes, IntoBytes};
