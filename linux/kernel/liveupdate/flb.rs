// SPDX-License-Identifier: GPL-2.0-only

//! File-lifecycle-bound data (FLB): state that several files share. It is preserved with the first
//! file that needs it and finished with the last.
//!
//! An FLB has two separate lives here: what this kernel preserves, [`outgoing`], and what the
//! previous one did, [`incoming`]. Both count files and borrowed references apart: the files are
//! what the next kernel is told, the references only keep the object alive meanwhile.
//!
//! The callbacks run with the lock of that one life held, and no other.

pub(crate) mod incoming;
pub(crate) mod outgoing;
