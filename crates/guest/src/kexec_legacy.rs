// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A minimal `kexec_load` of an x86-64 bzImage: what old tools do, and what carries nothing that KHO preserved.
//!
//! The boot protocol is that of Documentation/arch/x86/boot.rst, 64-bit entry.

use std::{ffi::c_void, fs, io};

use luo_guest::proto::Failure;

use crate::slots::{Tried as _, other};

const PAGE: usize = 4096;
const PARAMS_PA: u64 = 0x1_0000;
const CMDLINE_PA: u64 = 0x1_1000;
const ENTRY_PA: u64 = 0x1_2000;
const INITRD_PA: u64 = 0x1000_0000;

// Offsets in the setup header, which lies at the same place in the image and in the boot parameters.
const SETUP_SECTS: usize = 0x1f1;
const JUMP_LENGTH: usize = 0x201;
const MAGIC: usize = 0x202;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const XLOADFLAGS: usize = 0x236;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY_BYTES: usize = 20;
const E820_MAX: usize = 128;
/// The 64-bit entry's distance from where the kernel is loaded.
const ENTRY_64: u64 = 0x200;

#[repr(C)]
struct Segment {
    buffer: *const c_void,
    buffer_bytes: usize,
    pa: u64,
    bytes: usize,
}

pub(crate) fn load(kernel: &[u8], initrd: &[u8], cmdline: &str) -> Result<(), Failure> {
    if kernel.len() < 0x1000 || &kernel[MAGIC..MAGIC + 4] != b"HdrS" || kernel[XLOADFLAGS] & 1 == 0
    {
        return Err(other("not a bzImage with a 64-bit entry"));
    }
    let load_pa = read_u64(kernel, PREF_ADDRESS);
    let setup_bytes = (usize::from(kernel[SETUP_SECTS]) + 1) * 512;
    let init_bytes = read_u32(kernel, INIT_SIZE) as usize;
    let ranges = fs::read_to_string("/proc/iomem").tried("read /proc/iomem")?;
    let params = boot_params(kernel, initrd.len(), &memory_map(&ranges));
    let mut cmdline = cmdline.as_bytes().to_vec();
    cmdline.push(0);
    let entry = trampoline(load_pa + ENTRY_64);
    let segments = [
        segment(&params, PARAMS_PA, PAGE),
        segment(&cmdline, CMDLINE_PA, PAGE),
        segment(&entry, ENTRY_PA, PAGE),
        segment(&kernel[setup_bytes..], load_pa, init_bytes),
        segment(initrd, INITRD_PA, initrd.len()),
    ];
    // SAFETY: each segment describes a live buffer of the length it says; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_load,
            ENTRY_PA,
            segments.len(),
            segments.as_ptr(),
            0_u64,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error()).tried("kexec_load")
    } else {
        Ok(())
    }
}

fn segment(buffer: &[u8], pa: u64, bytes: usize) -> Segment {
    let bytes = bytes.max(buffer.len()).next_multiple_of(PAGE);
    Segment {
        buffer: buffer.as_ptr().cast(),
        buffer_bytes: buffer.len(),
        pa,
        bytes,
    }
}

/// The kernel is entered with the boot parameters' address in rsi, kexec enters with all registers zero.
fn trampoline(kernel_entry: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xbe]; // mov rsi, imm64
    code.extend(PARAMS_PA.to_le_bytes());
    code.extend([0x48, 0xb8]); // mov rax, imm64
    code.extend(kernel_entry.to_le_bytes());
    code.extend([0xff, 0xe0]); // jmp rax
    code
}

fn boot_params(kernel: &[u8], initrd_len: usize, map: &[(u64, u64, u32)]) -> Vec<u8> {
    let mut params = vec![0; PAGE];
    let header_end = MAGIC + usize::from(kernel[JUMP_LENGTH]);
    params[SETUP_SECTS..header_end].copy_from_slice(&kernel[SETUP_SECTS..header_end]);
    params[TYPE_OF_LOADER] = 0xff;
    let mut put_u32 =
        |at: usize, value: u32| params[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put_u32(RAMDISK_IMAGE, INITRD_PA as u32);
    put_u32(RAMDISK_SIZE, initrd_len as u32);
    put_u32(CMD_LINE_PTR, CMDLINE_PA as u32);
    for (i, (start, end, kind)) in map.iter().take(E820_MAX).enumerate() {
        let at = E820_TABLE + i * E820_ENTRY_BYTES;
        params[at..at + 8].copy_from_slice(&start.to_le_bytes());
        params[at + 8..at + 16].copy_from_slice(&(end - start + 1).to_le_bytes());
        params[at + 16..at + 20].copy_from_slice(&kind.to_le_bytes());
    }
    params[E820_ENTRIES] = map.len().min(E820_MAX) as u8;
    params
}

/// First byte, last byte and e820 type of each top-level memory range in `/proc/iomem`.
fn memory_map(iomem: &str) -> Vec<(u64, u64, u32)> {
    iomem
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| {
            let (range, name) = line.split_once(" : ")?;
            let kind = match name {
                "System RAM" => 1,
                "Reserved" => 2,
                "ACPI Tables" => 3,
                "ACPI Non-volatile Storage" => 4,
                _ => return None,
            };
            let (start, end) = range.split_once('-')?;
            Some((
                u64::from_str_radix(start, 16).ok()?,
                u64::from_str_radix(end, 16).ok()?,
                kind,
            ))
        })
        .collect()
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(read_u32(bytes, at)) | u64::from(read_u32(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_map_has_memory_and_nothing_else() {
        let iomem = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n  00001000-00001fff : Kernel code\n\
                     000a0000-000bffff : PCI Bus 0000:00\n7ffe0000-7fffffff : ACPI Tables\n";
        assert_eq!(
            memory_map(iomem),
            [
                (0, 0xfff, 2),
                (0x1000, 0x9_fbff, 1),
                (0x7ffe_0000, 0x7fff_ffff, 3)
            ]
        );
    }
}
