// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory that can be preserved: a memfd and its mapping.

use std::{
    ffi::c_void,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::{Error, Operation, Result};

/// A memfd of fixed size, mapped readable, writable and shared. Preserve it as any file: it is [`AsFd`].
///
/// Others may have the same memory mapped: the threads of a VM, another process. So there are no slices of it: bytes are copied,
/// each whole, but several not at one moment. What is mapped stays where it is until this is dropped.
///
/// ```
/// use liveupdate::Memory;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = Memory::create("guest", 2 << 20)?;
/// memory.write_at(0x1000, b"state")?;
///
/// // In the next kernel the file comes from `session.retrieve(token)`; here, from another descriptor of the same file.
/// let file = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned()?;
/// let again = Memory::from_file(file)?;
/// let mut state = [0; 5];
/// again.read_at(0x1000, &mut state)?;
/// assert_eq!((&state, again.len()), (b"state", 2 << 20));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Memory {
    file: OwnedFd,
    start: NonNull<u8>,
    len: usize,
}

/// A range that is not inside the memory. Nothing was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes at {offset:#x} are not within memory of {len:#x} bytes")]
pub struct OutOfBounds {
    /// Where it begins.
    pub offset: usize,
    /// Its length.
    pub bytes: usize,
    /// The memory's length.
    pub len: usize,
}

// SAFETY: the mapping is the process's, not a thread's: it may be used and unmapped by any of them.
unsafe impl Send for Memory {}
// SAFETY: the methods that take `&self` access the bytes as atomics, so that threads may call them at the same time.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes a memfd of `bytes` zeroes, which take no memory before they are written. Its size is sealed: nobody who gets the
    /// descriptor can shrink it under the mapping.
    ///
    /// `name` is seen in `/proc/PID/maps`; it does not go to the next kernel. The memfd is not sealed against execution
    /// (`MFD_EXEC`) where the system allows that: such a one comes back sealed against writing from upstream's kernel.
    ///
    /// # Errors
    /// `EINVAL` no bytes, or a name with a NUL or of more than 249 bytes; `EFBIG`, `ENOMEM`, `EMFILE`, `ENFILE` limits.
    ///
    /// ```
    /// use liveupdate::{Memory, Operation};
    /// let memory = Memory::create("guest", 4096)?;
    /// assert_eq!(memory.len(), 4096);
    /// assert_eq!(Memory::create("none", 0).unwrap_err().operation, Operation::MapMemory);
    /// # Ok::<(), liveupdate::Error>(())
    /// ```
    pub fn create(name: &str, bytes: usize) -> Result<Self> {
        let error = |errno| Error {
            operation: Operation::CreateMemory,
            object: format!("{name} of {bytes} bytes"),
            errno,
        };
        let file = make(name).map_err(error)?;
        ftruncate(&file, bytes as u64).map_err(error)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).map_err(error)?;
        Self::map(file, bytes)
    }

    /// Maps all of a memfd that comes from [`Session::retrieve`](crate::Session::retrieve) or another process.
    ///
    /// If it is not sealed against shrinking, and somebody shrinks it, access ends the process by `SIGBUS`.
    ///
    /// # Errors
    /// `EINVAL` it is empty; `EPERM` it is sealed against writing; `EACCES` it is not open for reading and writing; `ENODEV` it
    /// is no file that can be mapped; `ENOMEM`.
    ///
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use liveupdate::{Memory, Operation};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (pipe, _) = std::io::pipe()?;
    /// let error = Memory::from_file(OwnedFd::from(pipe)).unwrap_err();
    /// assert_eq!(error.operation, Operation::MapMemory);
    ///
    /// let memory = Memory::create("guest", 4096)?;
    /// let file = std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned()?;
    /// assert_eq!(Memory::from_file(file)?.len(), 4096);
    /// # Ok(()) }
    /// ```
    pub fn from_file(file: OwnedFd) -> Result<Self> {
        let size = fstat(&file).map_err(|errno| unmapped(&file, "unknown size", errno))?;
        let len = usize::try_from(size.st_size)
            .map_err(|_| unmapped(&file, size.st_size, Errno::OVERFLOW))?;
        Self::map(file, len)
    }

    fn map(file: OwnedFd, len: usize) -> Result<Self> {
        // SAFETY: the kernel chooses the place, so that no other mapping is replaced.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .map_err(|errno| unmapped(&file, format_args!("{len} bytes"), errno))?;
        let start = NonNull::new(start.cast::<u8>()).expect("mmap does not choose address 0");
        Ok(Self { file, start, len })
    }

    /// How many bytes there are; never 0.
    ///
    /// ```
    /// assert_eq!(liveupdate::Memory::create("guest", 5000)?.len(), 5000);
    /// # Ok::<(), liveupdate::Error>(())
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where it is mapped, on a page boundary: what `KVM_SET_USER_MEMORY_REGION` wants. Valid until this is dropped.
    ///
    /// Whoever accesses it through the pointer, while others do, uses atomics or volatile copies, no references.
    ///
    /// ```
    /// let memory = liveupdate::Memory::create("guest", 4096)?;
    /// assert!(memory.as_ptr().cast::<[u64; 512]>().is_aligned());
    /// # Ok::<(), liveupdate::Error>(())
    /// ```
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Copies from `offset` on into all of `to`.
    ///
    /// # Errors
    /// [`OutOfBounds`] if there are not that many bytes.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = liveupdate::Memory::create("guest", 4096)?;
    /// let mut bytes = [1; 8];
    /// memory.read_at(4088, &mut bytes)?;
    /// assert_eq!(bytes, [0; 8]);
    /// assert!(memory.read_at(4089, &mut bytes).is_err());
    /// # Ok(()) }
    /// ```
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> std::result::Result<(), OutOfBounds> {
        let from = self.bytes(offset, to.len())?;
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.load(Relaxed);
        }
        Ok(())
    }

    /// Copies all of `from` to `offset`.
    ///
    /// # Errors
    /// [`OutOfBounds`] if there is no room for it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = liveupdate::Memory::create("guest", 4096)?;
    /// memory.write_at(0, &7_u64.to_le_bytes())?;
    /// let error = memory.write_at(4090, &[0; 8]).unwrap_err();
    /// assert_eq!(error.to_string(), "8 bytes at 0xffa are not within memory of 0x1000 bytes");
    /// # Ok(()) }
    /// ```
    pub fn write_at(&self, offset: usize, from: &[u8]) -> std::result::Result<(), OutOfBounds> {
        let to = self.bytes(offset, from.len())?;
        for (to, from) in to.iter().zip(from) {
            to.store(*from, Relaxed);
        }
        Ok(())
    }

    fn bytes(&self, offset: usize, bytes: usize) -> std::result::Result<&[AtomicU8], OutOfBounds> {
        let all = self.start.as_ptr().cast::<AtomicU8>();
        // SAFETY: `start` is mapped readable and writable for `len` bytes for as long as `self` lives; an `AtomicU8` is laid
        // out as a byte, may change at any time, and no reference to plain bytes is ever made.
        let all = unsafe { std::slice::from_raw_parts(all, self.len) };
        let end = offset.checked_add(bytes);
        end.and_then(|end| all.get(offset..end)).ok_or(OutOfBounds {
            offset,
            bytes,
            len: self.len,
        })
    }
}

/// Before Linux 6.3 there is no `MFD_EXEC`; with `vm.memfd_noexec=2` it is refused.
fn make(name: &str) -> std::result::Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        Err(Errno::ACCESS) => memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL),
        made => made,
    }
}

fn unmapped(file: &OwnedFd, size: impl std::fmt::Display, errno: Errno) -> Error {
    Error {
        operation: Operation::MapMemory,
        object: format!("descriptor {} of {size}", file.as_raw_fd()),
        errno,
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let start = self.start.as_ptr().cast::<c_void>();
        // SAFETY: this mapping is ours, and `bytes` gives nothing that outlives `self`.
        // It can fail only for ranges that are none.
        unsafe { munmap(start, self.len) }.ok();
    }
}

#[cfg(test)]
mod tests;
