// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What an x86 kernel says of itself: the setup header of a bzImage.
//!
//! See `Documentation/arch/x86/boot.rst` in the kernel's source.

use std::{fs::File, io::Read as _, path::Path};

use super::error::{LoadError, NotAKernel};

/// A kernel that `kexec_file_load(2)` takes, as far as its header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its release, and who built it when; empty if it does not say.
    pub version: String,
    /// The longest command line that it reads, in bytes.
    pub cmdline_bytes: u32,
}

impl Kernel {
    /// As `uname -r` will give it.
    pub fn release(&self) -> &str {
        self.version.split(' ').next().unwrap_or_default()
    }
}

const SETUP_SECTORS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const VERSION_POINTER: usize = 0x20e;
const LOAD_FLAGS: usize = 0x211;
const XLOADFLAGS: usize = 0x236;
const CMDLINE_SIZE: usize = 0x238;
/// The version text lies this much behind what points to it.
const VERSION_BASE: usize = 0x200;
const HEADER_END: usize = 0x260;

const LOADED_HIGH: u8 = 1;
/// `bzImage64_probe` in the kernel wants this protocol, and both flags.
const OLDEST_PROTOCOL: u16 = 0x020c;
const XLF_KERNEL_64: u16 = 1;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// Reads the header of the kernel in the file `path`. Needs no rights but to read it.
///
/// # Errors
/// It cannot be read, or is no kernel that can be loaded: the error says what it lacks.
pub fn inspect(path: &Path) -> Result<Kernel, LoadError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(64 << 10).read_to_end(&mut head))
        .map_err(|source| LoadError::File {
            path: path.to_owned(),
            source,
        })?;
    if !cfg!(target_arch = "x86_64") {
        // Others have formats of their own: what is in it is left to the running kernel.
        return Ok(Kernel {
            version: String::new(),
            cmdline_bytes: 2047,
        });
    }
    parse(&head).map_err(|what| LoadError::NotAKernel(what.of(path)))
}

fn parse(head: &[u8]) -> Result<Kernel, NotAKernel> {
    let word = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
    if head.get(MAGIC..MAGIC + 4) != Some(b"HdrS") || word(BOOT_FLAG) != Some(0xaa55) {
        return Err(NotAKernel::no_header(head));
    }
    let protocol = word(PROTOCOL).unwrap_or_default();
    if protocol < OLDEST_PROTOCOL {
        return Err(NotAKernel::old(protocol));
    }
    if head.len() < HEADER_END || head[LOAD_FLAGS] & LOADED_HIGH == 0 {
        return Err(NotAKernel::no_header(head));
    }
    let flags = word(XLOADFLAGS).unwrap_or_default();
    if flags & XLF_KERNEL_64 == 0 {
        return Err(NotAKernel::not_64_bit());
    }
    if flags & XLF_CAN_BE_LOADED_ABOVE_4G == 0 {
        return Err(NotAKernel::not_relocatable());
    }
    let bytes = head[CMDLINE_SIZE..].first_chunk();
    Ok(Kernel {
        version: version(head, word(VERSION_POINTER).unwrap_or_default()),
        cmdline_bytes: u32::from_le_bytes(*bytes.expect("the header is longer")),
    })
}

fn version(head: &[u8], pointer: u16) -> String {
    let sectors = usize::from(head[SETUP_SECTORS]).max(4);
    let setup = &head[..head.len().min((sectors + 1) * 512)];
    let text = match pointer {
        0 => &[],
        pointer => setup
            .get(VERSION_BASE + usize::from(pointer)..)
            .unwrap_or_default(),
    };
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// The flags of a kernel that can be loaded.
#[cfg(test)]
pub(super) const LOADABLE: u16 = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;

/// A file that has such a header, and no kernel.
#[cfg(test)]
pub(super) fn synthetic(version: &str, xloadflags: u16) -> Vec<u8> {
    let mut file = vec![0; 5 * 512];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(SETUP_SECTORS, &[4]);
    put(BOOT_FLAG, &0xaa55_u16.to_le_bytes());
    put(MAGIC, b"HdrS");
    put(PROTOCOL, &0x020f_u16.to_le_bytes());
    put(VERSION_POINTER, &0x400_u16.to_le_bytes());
    put(LOAD_FLAGS, &[LOADED_HIGH]);
    put(XLOADFLAGS, &xloadflags.to_le_bytes());
    put(CMDLINE_SIZE, &2047_u32.to_le_bytes());
    put(VERSION_BASE + 0x400, version.as_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(head: &[u8]) -> String {
        parse(head).unwrap_err().to_string()
    }

    #[test]
    fn a_kernel_says_what_it_is() {
        let file = synthetic("7.2.12 (builder@host) #1 SMP", LOADABLE);
        let kernel = parse(&file).unwrap();
        assert_eq!(kernel.version, "7.2.12 (builder@host) #1 SMP");
        assert_eq!(kernel.release(), "7.2.12");
        assert_eq!(kernel.cmdline_bytes, 2047);
    }

    #[test]
    fn what_cannot_be_loaded_is_told_apart() {
        let mut gzip = vec![0; 4096];
        gzip[..2].copy_from_slice(&[0x1f, 0x8b]);
        let mut elf = vec![0; 4096];
        elf[..4].copy_from_slice(b"\x7fELF");
        assert!(why(&gzip).contains("compressed"), "{}", why(&gzip));
        assert!(why(&elf).contains("vmlinux"), "{}", why(&elf));
        assert!(why(b"").contains("no bzImage"));
        let fixed = why(&synthetic("7.2", XLF_KERNEL_64));
        assert!(fixed.contains("CONFIG_RELOCATABLE=y"), "{fixed}");
        let small = why(&synthetic("7.2", XLF_CAN_BE_LOADED_ABOVE_4G));
        assert!(small.contains("64-bit"), "{small}");
        let mut old = synthetic("2.6", LOADABLE);
        old[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x0208_u16.to_le_bytes());
        assert!(why(&old).contains("2.8"), "{}", why(&old));
    }

    #[test]
    fn no_header_however_it_is_cut_or_broken_makes_it_fail() {
        let whole = synthetic("7.2.12", LOADABLE);
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        assert!(parse(&whole[..HEADER_END - 1]).is_err());
        for pointer in [1, 0x1ff, 0x7ff, 0xffff_u16] {
            let mut broken = whole.clone();
            broken[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&pointer.to_le_bytes());
            assert!(parse(&broken).is_ok());
        }
    }
}
