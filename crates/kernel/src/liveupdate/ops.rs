// SPDX-License-Identifier: GPL-2.0-only

//! File handlers that are written in Rust.

use crate::{
    alloc::KBox,
    error::{Error, Result},
    fs::File,
    sync::aref::ARef,
};
use core::ffi::CStr;

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
    /// The compatibility string.
    const COMPATIBLE: &'static CStr;

    /// What is kept of a preserved file.
    type Preserved: Send + 'static;

    /// What is kept of a file that was not retrieved at the first attempt.
    type Claimed: Send + 'static;

    /// Whether the handler can take care of `file`.
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
