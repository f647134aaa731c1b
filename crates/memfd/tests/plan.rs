// SPDX-License-Identifier: GPL-2.0-only

//! What files may look like.

use kernel::{
    fs::File,
    host::shmem::{create, fill},
    kho::PAGE_SIZE,
    shmem::Attributes,
    sync::aref::ARef,
};
use proptest::{collection::vec, prelude::*};

pub(crate) const SEAL_FUTURE_WRITE: u32 = 0x10;
const SEAL_EXEC: u32 = 0x20;
/// What `F_SEAL_EXEC` brings with it on a file that may be executed, and what a file can have beside.
const SEALS_OF_EXECUTABLE: u32 = 0x3e;
const SEAL_SEAL: u32 = 1;

/// A folio, behind those before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Pages left out in the file; then as many as alignment asks for.
    pub(crate) hole: u64,
    /// Pages left out in memory; the same.
    pub(crate) gap: u64,
    pub(crate) order: u8,
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pieces: Vec<Piece>,
    /// Bytes behind the last page, or missing in it.
    pub(crate) tail: i16,
    pub(crate) pos: u64,
    pub(crate) seals: u32,
    pub(crate) is_executable: bool,
}

impl Plan {
    /// Pages side by side in the file, one here and one there in memory.
    pub(crate) fn scattered(pages: usize) -> Self {
        let piece = Piece {
            hole: 0,
            gap: 1,
            order: 0,
        };
        Self {
            pieces: vec![piece; pages],
            tail: -1,
            pos: 1,
            seals: 0,
            is_executable: true,
        }
    }

    /// The pieces with their places.
    fn placed(&self) -> impl Iterator<Item = (u64, &Piece)> {
        self.pieces.iter().scan(0_u64, |end, piece| {
            let index = (*end + piece.hole).next_multiple_of(1 << piece.order);
            *end = index + (1 << piece.order);
            Some((index, piece))
        })
    }

    pub(crate) fn make(&self) -> ARef<File> {
        let pages = self
            .placed()
            .last()
            .map_or(0, |(index, it)| index + (1 << it.order));
        let size = (pages * PAGE_SIZE as u64).saturating_add_signed(self.tail.into());
        let file = create(&Attributes {
            size,
            pos: self.pos,
            seals: self.seals,
            is_executable: self.is_executable,
        });
        let file = file.unwrap();
        for (number, (index, piece)) in self.placed().enumerate() {
            fill(&file, index, piece.order, piece.gap, (number as u64) << 32);
        }
        file
    }

    /// The first hole that is large enough for a page.
    pub(crate) fn hole(&self) -> Option<u64> {
        let mut end = 0;
        for (index, piece) in self.placed() {
            if index > end {
                return Some(end);
            }
            end = index + (1 << piece.order);
        }
        None
    }
}

fn piece() -> impl Strategy<Value = Piece> {
    let few = prop_oneof![8 => Just(0_u64), 2 => 1..4_u64, 1 => 4..600_u64];
    let order = prop_oneof![12 => Just(0_u8), 3 => 1..4_u8, 1 => Just(9)];
    (few.clone(), few, order).prop_map(|(hole, gap, order)| Piece { hole, gap, order })
}

/// Seals as the kernel lets a file have them.
fn seals() -> impl Strategy<Value = (u32, bool)> {
    (any::<bool>(), any::<bool>(), 0..0x20_u32).prop_map(|(is_executable, is_sealed, others)| {
        let seals = match (is_executable, is_sealed) {
            (true, true) => SEALS_OF_EXECUTABLE | others & SEAL_SEAL,
            (true, false) => others,
            (false, _) => others | SEAL_EXEC,
        };
        (seals, is_executable)
    })
}

pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let pieces = prop_oneof![6 => vec(piece(), 0..20), 1 => vec(piece(), 200..700)];
    let tail = -4095..5000_i16;
    (pieces, tail, 0..1_u64 << 40, seals()).prop_map(
        |(pieces, tail, pos, (seals, is_executable))| {
            Plan {
                // A file without pages has no last one that could be cut.
                tail: if pieces.is_empty() { tail.abs() } else { tail },
                pieces,
                pos,
                seals,
                is_executable,
            }
        },
    )
}
