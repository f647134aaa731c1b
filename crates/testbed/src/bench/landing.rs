// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The smallest kernel there is: it prints the time-stamp counter, and halts. What goes there by kexec learns when it arrived.

/// The line that it prints, before the counter as 16 hexadecimal digits.
const LINE: &str = "landed at tsc ";
/// The processor's entry lies so far behind the part for 16-bit mode, which is two sectors long.
const ENTRY: usize = 0x200;
const REAL_MODE: usize = 2 * 512;

/// Position-independent; the processor is in 64-bit mode with memory mapped one to one. The digits are written from the last to
/// the first, then the line goes to the first serial port.
const CODE: [u8; 0x4f] = [
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x48, 0x8d, 0x3d, 0x5e, 0, 0, 0, // lea rdi, [behind the digits]
    0xb9, 16, 0, 0, 0, // mov ecx, 16
    0x88, 0xc2, // digit: mov dl, al
    0x80, 0xe2, 0x0f, // and dl, 15
    0x80, 0xc2, b'0', // add dl, '0'
    0x80, 0xfa, b'9', // cmp dl, '9'
    0x76, 0x03, // jbe store
    0x80, 0xc2, 0x27, // add dl, 'a' - '9' - 1
    0x48, 0xff, 0xcf, // store: dec rdi
    0x88, 0x17, // mov [rdi], dl
    0x48, 0xc1, 0xe8, 0x04, // shr rax, 4
    0xe2, 0xe5, // loop digit
    0x48, 0x8d, 0x35, 0x18, 0, 0, 0, // lea rsi, [the line]
    0x66, 0xba, 0xfd, 0x03, // next: mov dx, 0x3fd, the line status
    0xec, // busy: in al, dx
    0xa8, 0x20, // test al, 0x20
    0x74, 0xfb, // jz busy
    0xac, // lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x07, // jz halt
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xee, // out dx, al
    0xeb, 0xeb, // jmp next
    0xf4, // halt: hlt
    0xeb, 0xfd, // jmp halt
];

/// As a bzImage: see Documentation/arch/x86/boot.rst.
pub(super) fn image() -> Vec<u8> {
    let mut image = vec![0; REAL_MODE + ENTRY];
    let mut set = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    set(0x1f1, &[1]); // sectors of setup, beside the first
    set(0x1fe, &[0x55, 0xaa]); // boot flag
    set(0x200, &[0xeb, 0x6a]); // a jump over the header, which is so long
    set(0x202, b"HdrS");
    set(0x206, &0x20f_u16.to_le_bytes()); // version of the protocol
    set(0x211, &[1]); // to be loaded high
    set(0x230, &0x20_0000_u32.to_le_bytes()); // alignment
    set(0x234, &[1]); // relocatable
    set(0x236, &0x63_u16.to_le_bytes()); // 64-bit entry, anywhere in memory, with five levels of page tables too
    set(0x238, &2047_u32.to_le_bytes()); // longest command line
    set(0x258, &0x100_0000_u64.to_le_bytes()); // preferred address
    set(0x260, &0x1000_u32.to_le_bytes()); // memory needed
    image.extend(CODE);
    image.extend(b"\n");
    image.extend(LINE.as_bytes());
    image.extend([b' '; 16]);
    image.extend(b"\n\0");
    image
}

/// The counter, when this is the line.
pub(super) fn parse(line: &str) -> Option<u64> {
    let (_, digits) = line.split_once(LINE)?;
    u64::from_str_radix(digits.get(..16)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the `lea` whose operand is at `operand` points to, from the entry.
    fn target(operand: usize) -> usize {
        let distance: [u8; 4] = CODE[operand..operand + 4].try_into().unwrap();
        operand + 4 + u32::from_le_bytes(distance) as usize
    }

    #[test]
    fn the_code_finds_its_line_and_its_digits() {
        let image = image();
        let entry = &image[REAL_MODE + ENTRY..];
        assert!(entry[target(0x33)..].starts_with(b"\nlanded at tsc     "));
        let behind = target(0x0c);
        assert_eq!(entry[behind - 16..behind], [b' '; 16]);
        assert_eq!(entry[behind..], *b"\n\0");
    }

    #[test]
    fn the_line_is_recognized() {
        assert_eq!(parse("landed at tsc 00000000deadbeef"), Some(0xdead_beef));
        assert_eq!(parse("[ 1.0] landed at tsc 0000"), None);
        assert_eq!(parse("Linux version 7.2"), None);
    }
}
