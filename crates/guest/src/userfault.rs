// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Pages whose first write blocks, because nobody answers their page faults (userfaultfd write protection).

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd},
};

use luo_guest::proto::Failure;

use crate::slots::Tried as _;

// include/uapi/linux/userfaultfd.h
const UFFD_API: u64 = 0xAA;
const UFFD_FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;
const UFFDIO_REGISTER_MODE_WP: u64 = 2;
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1;
const UFFDIO_API: u64 = 0xC018_AA3F;
const UFFDIO_REGISTER: u64 = 0xC020_AA00;
const UFFDIO_WRITEPROTECT: u64 = 0xC018_AA06;

/// From here on the first write to the range blocks until the process is killed. The range must have been written before.
pub(crate) fn block_writes(start: *mut c_void, len: usize) -> Result<(), Failure> {
    // SAFETY: userfaultfd takes flags only.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or_else(io::Error::last_os_error)
        .tried("userfaultfd")?;
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let (start, len) = (start as u64, len as u64);
    call(
        &fd,
        UFFDIO_API,
        &mut [UFFD_API, UFFD_FEATURE_PAGEFAULT_FLAG_WP, 0],
    )
    .tried("UFFDIO_API")?;
    call(
        &fd,
        UFFDIO_REGISTER,
        &mut [start, len, UFFDIO_REGISTER_MODE_WP, 0],
    )
    .tried("UFFDIO_REGISTER")?;
    call(
        &fd,
        UFFDIO_WRITEPROTECT,
        &mut [start, len, UFFDIO_WRITEPROTECT_MODE_WP],
    )
    .tried("UFFDIO_WRITEPROTECT")?;
    // Closing it would let the writes go on.
    let _ = fd.into_raw_fd();
    Ok(())
}

fn call<const WORDS: usize>(fd: &OwnedFd, number: u64, words: &mut [u64; WORDS]) -> io::Result<()> {
    // SAFETY: the size that each number encodes is that of the words its caller passes.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number as _, words.as_mut_ptr()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
