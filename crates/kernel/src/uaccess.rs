// SPDX-License-Identifier: GPL-2.0-only

//! Access to the memory of the calling task, which can fault, and block for ever: no lock may be
//! held meanwhile, and a violation panics.

use crate::{error::Result, error::code::EFAULT, host::user, sync::lockdep};

/// An address in user memory.
#[derive(Clone, Copy, Debug)]
pub struct UserPtr(usize);

impl UserPtr {
    /// The pointer that an ioctl argument is.
    #[must_use]
    pub fn from_addr(addr: usize) -> Self {
        Self(addr)
    }
}

/// A range of user memory. Nothing is known about it before it is accessed.
pub struct UserSlice {
    addr: usize,
    len: usize,
}

impl UserSlice {
    /// The `len` bytes at `ptr`.
    #[must_use]
    pub fn new(ptr: UserPtr, len: usize) -> Self {
        Self { addr: ptr.0, len }
    }

    /// To read it.
    #[must_use]
    pub fn reader(self) -> UserSliceReader {
        UserSliceReader(self)
    }

    /// To write it.
    #[must_use]
    pub fn writer(self) -> UserSliceWriter {
        UserSliceWriter(self)
    }

    /// Goes on by `len` bytes; gives the address before.
    fn advance(&mut self, len: usize) -> Result<usize> {
        self.len = self.len.checked_sub(len).ok_or(EFAULT)?;
        let addr = self.addr;
        self.addr = addr.wrapping_add(len);
        Ok(addr)
    }
}

/// Reads a [`UserSlice`] from its beginning on.
pub struct UserSliceReader(UserSlice);

impl UserSliceReader {
    /// Leaves `len` bytes out.
    ///
    /// # Errors
    ///
    /// `EFAULT` beyond the end.
    pub fn skip(&mut self, len: usize) -> Result {
        self.0.advance(len).map(drop)
    }

    /// How much is left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Fills `out`.
    ///
    /// # Errors
    ///
    /// `EFAULT` beyond the end, or if the memory cannot be read.
    pub fn read_slice(&mut self, out: &mut [u8]) -> Result {
        lockdep::might_fault();
        user::copy_from(self.0.advance(out.len())?, out)
    }
}

/// Writes a [`UserSlice`] from its beginning on.
pub struct UserSliceWriter(UserSlice);

impl UserSliceWriter {
    /// Writes `data`.
    ///
    /// # Errors
    ///
    /// `EFAULT` beyond the end, or if the memory cannot be written.
    pub fn write_slice(&mut self, data: &[u8]) -> Result {
        lockdep::might_fault();
        user::copy_to(self.0.advance(data.len())?, data)
    }
}
