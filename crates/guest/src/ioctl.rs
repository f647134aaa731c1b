// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Raw ioctls whose argument lies where a hostile caller would put it.

use std::{ffi::c_void, io, os::fd::RawFd, ptr};

use luo_guest::proto::{Buffer, Entry, Failure, Outcome, Place, Reply};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use crate::{
    slots::{Tried as _, other},
    userfault,
};

const PAGE: usize = 4096;
/// Below 4 GiB, where a 32-bit pointer reaches.
const MAP_32BIT: u32 = 0x40;
/// `ioctl` in the table of 32-bit system calls.
const COMPAT_IOCTL: u64 = 54;

pub(crate) fn raw(fd: RawFd, number: u32, buffer: &Buffer, entry: Entry) -> Outcome {
    let argument = Argument::new(buffer)?;
    let value = match entry {
        Entry::Native => native(fd, number, argument.address),
        Entry::Compat => compat(fd, number, argument.address),
    }
    .tried(format!("ioctl {number:#x}"))?;
    Ok(Reply::Ioctl {
        value,
        bytes: argument.bytes(),
    })
}

fn native(fd: RawFd, number: u32, argument: *mut c_void) -> io::Result<i32> {
    // SAFETY: `argument` is either no memory of ours, or a private mapping that holds nothing but the argument.
    let result = unsafe { libc::ioctl(fd, libc::c_ulong::from(number) as _, argument) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The kernel takes `int 0x80` for a 32-bit program's call even from a 64-bit program; pointers have 32 bits then.
fn compat(fd: RawFd, number: u32, argument: *mut c_void) -> io::Result<i32> {
    let result: u64;
    // SAFETY: the call is an ioctl whose argument is as in `native`, mapped below 4 GiB. rbx, which the compiler keeps to
    // itself, is put back; r8 to r11 are declared lost.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) i64::from(fd) => _,
            inlateout("rax") COMPAT_IOCTL => result,
            in("rcx") u64::from(number),
            in("rdx") argument as u64,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    let result = (result as u32).cast_signed();
    if result < 0 {
        Err(io::Error::from_raw_os_error(-result))
    } else {
        Ok(result)
    }
}

/// The argument's memory: two pages of which the second may be missing.
struct Argument {
    mapping: *mut c_void,
    address: *mut c_void,
    len: usize,
    readable: bool,
}

impl Argument {
    fn new(buffer: &Buffer) -> Result<Self, Failure> {
        let len = buffer.bytes.len();
        if len > PAGE {
            return Err(other(format!(
                "an argument has at most {PAGE} bytes, this one {len}"
            )));
        }
        // SAFETY: a new anonymous mapping at an address the kernel chooses touches nothing that exists.
        let mapping = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                2 * PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::from_bits_retain(MAP_32BIT),
            )
        }
        .tried("mmap")?;
        let offset = match buffer.place {
            Place::LastBytesOfPage(count) => PAGE - count.min(PAGE),
            _ => 0,
        };
        let mut argument = Self {
            mapping,
            address: mapping.wrapping_byte_add(offset),
            len,
            readable: true,
        };
        // SAFETY: the mapping has two writable pages, and offset and length are at most one page each.
        unsafe { ptr::copy_nonoverlapping(buffer.bytes.as_ptr(), argument.address.cast(), len) };
        argument.spoil(buffer.place)?;
        Ok(argument)
    }

    fn spoil(&mut self, place: Place) -> Result<(), Failure> {
        match place {
            Place::Normal => return Ok(()),
            Place::Null => self.address = ptr::null_mut(),
            Place::Unmapped => self.protect(0, MprotectFlags::empty())?,
            Place::ReadOnly => self.protect(0, MprotectFlags::READ)?,
            Place::LastBytesOfPage(_) => self.protect(1, MprotectFlags::empty())?,
            Place::WriteBlocks => userfault::block_writes(self.mapping, PAGE)?,
        }
        self.readable = matches!(place, Place::ReadOnly | Place::WriteBlocks);
        Ok(())
    }

    fn protect(&self, page: usize, protection: MprotectFlags) -> Result<(), Failure> {
        let start = self.mapping.wrapping_byte_add(page * PAGE);
        // SAFETY: the mapping is this value's own; `spoil` notes when it cannot be read any more.
        unsafe { rustix::mm::mprotect(start, PAGE, protection) }.tried("mprotect")
    }

    fn bytes(&self) -> Vec<u8> {
        if !self.readable {
            return Vec::new();
        }
        // SAFETY: `readable` says that `len` bytes from `address` are mapped readable; nobody writes to them meanwhile.
        unsafe { std::slice::from_raw_parts(self.address.cast::<u8>(), self.len) }.to_vec()
    }
}

impl Drop for Argument {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing refers into it any more.
        unsafe { rustix::mm::munmap(self.mapping, 2 * PAGE) }.ok();
    }
}
