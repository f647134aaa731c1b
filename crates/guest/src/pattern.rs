// SPDX-License-Identifier: Apache-2.0 OR MIT

//! File contents that can be generated and verified anywhere from a few numbers.

use serde::{Deserialize, Serialize};

/// A file's length and bytes: pseudo-random in the ranges, zero elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The file's length in bytes.
    pub size: u64,
    /// Where the bytes come from.
    pub seed: u64,
    /// Written parts, ascending, as (offset, length); everything else is a hole.
    pub ranges: Vec<(u64, u64)>,
}

impl Content {
    /// A file that is written completely.
    pub fn full(seed: u64, size: u64) -> Self {
        Self {
            size,
            seed,
            ranges: if size == 0 {
                Vec::new()
            } else {
                vec![(0, size)]
            },
        }
    }

    /// Fills `buffer` with what the file holds at `offset`.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        for &(start, length) in &self.ranges {
            let (from, to) = (start.max(offset), (start + length).min(end));
            if from < to {
                fill(
                    self.seed,
                    from,
                    &mut buffer[(from - offset) as usize..(to - offset) as usize],
                );
            }
        }
    }
}

/// The generator's bytes from `offset` on. Every 8-byte word depends on the seed and its own position only.
fn fill(seed: u64, offset: u64, buffer: &mut [u8]) {
    let mut position = offset;
    let mut rest = buffer;
    // Gigabytes are filled in an emulated machine: whole words go without the care for parts of words.
    if position.is_multiple_of(8) {
        let whole = rest.len() / 8 * 8;
        let (words, tail) = rest.split_at_mut(whole);
        for (index, bytes) in (position / 8..).zip(words.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word(seed, index).to_le_bytes());
        }
        (position, rest) = (position + whole as u64, tail);
    }
    while !rest.is_empty() {
        let skip = (position % 8) as usize;
        let word = word(seed, position / 8).to_le_bytes();
        let length = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(length);
        head.copy_from_slice(&word[skip..skip + length]);
        position += length as u64;
        rest = tail;
    }
}

/// The finaliser of splitmix64.
fn word(seed: u64, index: u64) -> u64 {
    let mut x = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_reads_the_same_bytes() {
        let content = Content {
            size: 300,
            seed: 9,
            ranges: vec![(3, 50), (100, 150)],
        };
        let mut whole = [0xaa; 300];
        content.read_at(0, &mut whole);
        for step in [1_usize, 7, 8, 64] {
            let mut pieces = Vec::new();
            while pieces.len() < 300 {
                let mut piece = vec![0xbb; step.min(300 - pieces.len())];
                content.read_at(pieces.len() as u64, &mut piece);
                pieces.extend(piece);
            }
            assert_eq!(pieces, whole, "step {step}");
        }
    }

    #[test]
    fn holes_are_zero_and_seeds_differ() {
        let content = Content {
            size: 64,
            seed: 1,
            ranges: vec![(0, 16), (48, 16)],
        };
        let mut bytes = [1; 64];
        content.read_at(0, &mut bytes);
        assert!(bytes[16..48].iter().all(|byte| *byte == 0));
        assert_ne!(bytes[..16], bytes[48..]);
        let mut other = [0; 64];
        Content { seed: 2, ..content }.read_at(0, &mut other);
        assert_ne!(bytes, other);
    }
}
