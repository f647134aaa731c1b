// SPDX-License-Identifier: GPL-2.0-only

//! Ioctls: from the caller's memory to a typed request and back.
//!
//! The order of the checks is part of the interface: number, size, command, whatever the file
//! adds, smallest size, contents.

use crate::abi::Request;
use core::{mem::size_of, ops::RangeInclusive};
use kernel::{
    fs::file::{flags::O_CLOEXEC, FileDescriptorReservation},
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// An ioctl, as far as it is checked.
pub(crate) struct Call {
    cmd: u32,
    arg: UserPtr,
    user_size: usize,
}

impl Call {
    /// Checks the number against those that the file knows, and gets the size of the structure.
    ///
    /// # Errors
    ///
    /// `EINVAL` number out of range; `EFAULT`.
    pub(crate) fn new(cmd: u32, arg: usize, numbers: RangeInclusive<u32>) -> Result<Self> {
        if !numbers.contains(&(cmd & 0xff)) {
            return Err(EINVAL);
        }
        let arg = UserPtr::from_addr(arg);
        let mut size = [0; size_of::<u32>()];
        UserSlice::new(arg, size.len())
            .reader()
            .read_slice(&mut size)?;
        Ok(Self {
            cmd,
            arg,
            user_size: u32::from_ne_bytes(size) as usize,
        })
    }

    /// The command.
    pub(crate) fn cmd(&self) -> u32 {
        self.cmd
    }

    /// Reads the structure. What the caller knows beyond it must be zero.
    ///
    /// # Errors
    ///
    /// `EINVAL` the caller's structure is too small; `E2BIG` it has something beyond ours;
    /// `EFAULT`.
    pub(crate) fn read<T: Request>(&self) -> Result<T> {
        if self.user_size < size_of::<T>() {
            return Err(EINVAL);
        }
        let mut reader = UserSlice::new(self.arg, self.user_size).reader();
        reader.skip(size_of::<T>())?;
        let mut tail = [0; 64];
        while !reader.is_empty() {
            let len = reader.len().min(tail.len());
            reader.read_slice(&mut tail[..len])?;
            if tail[..len].iter().any(|byte| *byte != 0) {
                return Err(E2BIG);
            }
        }
        let mut request = T::new_zeroed();
        UserSlice::new(self.arg, size_of::<T>())
            .reader()
            .read_slice(request.as_mut_bytes())?;
        Ok(request)
    }

    /// Writes the structure back. No lock may be held: the caller's memory can block for ever.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(crate) fn reply<T: Request>(&self, reply: &T) -> Result {
        let mut writer = UserSlice::new(self.arg, size_of::<T>()).writer();
        writer.write_slice(reply.as_bytes())
    }
}

/// Reserves a descriptor of the calling task, closed on exec.
///
/// # Errors
///
/// `EMFILE`, `ENOMEM`.
pub(crate) fn reserve_fd() -> Result<FileDescriptorReservation> {
    FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)
}
