// SPDX-License-Identifier: GPL-2.0-only

//! The serialized form, "memfd-v2": fixed by `include/linux/kho/abi/memfd.h`, and for the array by
//! `include/linux/kho/abi/kexec_handover.h`.

use zerocopy_derive::FromBytes;

/// The size of a page.
pub(crate) const PAGE_SIZE: u64 = 4096;

/// The seals that can be handed over.
pub(crate) const ALL_SEALS: u32 = 0x3f;
/// `F_SEAL_EXEC`.
pub(crate) const SEAL_EXEC: u32 = 0x20;
/// `F_SEAL_FUTURE_WRITE`, which says nothing more where `F_SEAL_WRITE` is.
pub(crate) const SEAL_FUTURE_WRITE: u32 = 0x10;
/// What `F_SEAL_EXEC` brings with it on a file that may be executed: all but `F_SEAL_SEAL`.
pub(crate) const SEALS_OF_EXECUTABLE: u32 = 0x3e;

/// A memfd.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct MemfdSer {
    pub(crate) pos: u64,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) seals: u32,
    /// None are defined.
    pub(crate) flags: u32,
    pub(crate) nr_folios: u64,
    /// An array of [`FolioSer`]; nothing if there are no folios.
    pub(crate) folios: ArraySer,
}

/// An array of pages.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct ArraySer {
    /// The first [`Chunk`].
    pub(crate) first_pa: u64,
    pub(crate) total_pages: u32,
    pub(crate) flags: u16,
    /// The order of the pages.
    pub(crate) order: u16,
}

/// The only flag of an array that is known: it was made by `vmalloc()`.
pub(crate) const ARRAY_ALLOC: u16 = 1;

/// Pages to a chunk.
pub(crate) const PAGES_PER_CHUNK: usize = 511;

/// Some pages of an array.
#[derive(FromBytes)]
#[repr(C)]
pub(crate) struct Chunk {
    /// The next chunk; 0 in the last.
    pub(crate) next_pa: u64,
    /// 0 behind the last page.
    pub(crate) pages: [u64; PAGES_PER_CHUNK],
}

/// A folio of a memfd.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct FolioSer {
    /// The number of its first page, and flags in the upper bits.
    pub(crate) pfn_and_flags: u64,
    /// Its place in the file, in pages.
    pub(crate) index: u64,
}

const PFN_BITS: u32 = 52;
/// The folio has been written to, and its contents count.
const FOLIO_FLAGS: u64 = 0b11 << PFN_BITS;

impl FolioSer {
    /// A folio that begins at this page.
    pub(crate) const fn new(pfn: u64, index: u64) -> Self {
        Self {
            pfn_and_flags: pfn | FOLIO_FLAGS,
            index,
        }
    }

    /// What stands behind the last folio.
    pub(crate) const NOTHING: Self = Self {
        pfn_and_flags: 0,
        index: 0,
    };

    /// Whether nothing is there.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.pfn_and_flags | self.index == 0
    }

    /// The number of the first page; page 0 is nobody's.
    pub(crate) const fn pfn(&self) -> u64 {
        self.pfn_and_flags & ((1 << PFN_BITS) - 1)
    }

    /// Whether it has flags that nobody has defined.
    pub(crate) const fn has_unknown_flags(&self) -> bool {
        self.pfn_and_flags >> PFN_BITS & !0b11 != 0
    }

    /// Whether its contents count; otherwise it is to be zeroed.
    pub(crate) const fn is_uptodate(&self) -> bool {
        self.pfn_and_flags >> PFN_BITS & 0b10 != 0
    }
}

/// Entries to a page of the array.
pub(crate) const FOLIOS_PER_PAGE: usize = PAGE_SIZE as usize / size_of::<FolioSer>();

/// A page of the array.
#[derive(FromBytes)]
#[repr(C)]
pub(crate) struct FolioPage(pub(crate) [FolioSer; FOLIOS_PER_PAGE]);

const _: () = {
    assert!(size_of::<MemfdSer>() == 48);
    assert!(size_of::<ArraySer>() == 16);
    assert!(size_of::<Chunk>() == PAGE_SIZE as usize);
    assert!(size_of::<FolioPage>() == PAGE_SIZE as usize);
};
