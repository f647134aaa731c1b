// SPDX-License-Identifier: GPL-2.0-only

//! The serialized form, "luo-v5", and the structures of the ioctls.
//!
//! Everything here is fixed by `include/linux/kho/abi/` and `include/uapi/linux/liveupdate.h`.
//! Numbers are little-endian in practice: the format is that of the machine.

use core::mem::size_of;
use zerocopy::{FromBytes, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The size of a page, and so of a block.
pub(crate) const PAGE_SIZE: usize = 4096;

/// The version of the format.
pub(crate) const COMPATIBLE: [u8; 8] = *b"luo-v5\0\0";

/// The length of a session name, NUL included.
pub(crate) const NAME_LEN: usize = 64;

/// The length of the compatibility string of a handler or an FLB, NUL included.
pub(crate) const COMPAT_LEN: usize = 48;

/// The most blocks that a reader follows.
pub(crate) const MAX_BLOCKS: usize = 10_000;

/// The root: where everything else is found.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct RootSer {
    pub(crate) compatible: [u8; 8],
    /// How many live updates there were, this one included.
    pub(crate) liveupdate_num: u64,
    /// The first block of sessions; 0 if there are none.
    pub(crate) sessions_pa: u64,
    /// The page of FLBs.
    pub(crate) flbs_pa: u64,
}

/// A session.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct SessionSer {
    pub(crate) name: [u8; NAME_LEN],
    /// The first block of files; 0 exactly if `count` is.
    pub(crate) files_pa: u64,
    /// The number of files.
    pub(crate) count: u64,
}

/// A file of a session.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct FileSer {
    pub(crate) compatible: [u8; COMPAT_LEN],
    /// The handle that the handler made.
    pub(crate) data: u64,
    pub(crate) token: u64,
}

/// One shared state of several files.
#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(crate) struct FlbSer {
    pub(crate) name: [u8; COMPAT_LEN],
    /// The handle that the FLB made.
    pub(crate) data: u64,
    /// The number of preserved files that depend on it.
    pub(crate) count: u64,
}

/// A page of up to `N` entries, chained to the next.
#[derive(FromBytes)]
#[repr(C)]
pub(crate) struct Block<E, const N: usize> {
    /// The next block; 0 in the last.
    pub(crate) next_pa: u64,
    /// How many entries are in use.
    pub(crate) count: u64,
    pub(crate) entries: [E; N],
}

/// Sessions to a block.
pub(crate) const SESSIONS_PER_BLOCK: usize = per_block(size_of::<SessionSer>());
/// Files to a block.
pub(crate) const FILES_PER_BLOCK: usize = per_block(size_of::<FileSer>());
/// The most FLBs; all are in one page.
pub(crate) const MAX_FLBS: usize = per_block(size_of::<FlbSer>());

const fn per_block(entry: usize) -> usize {
    (PAGE_SIZE - 2 * size_of::<u64>()) / entry
}

/// The page of FLBs. `pgcnt`, its size in pages, stands where a block has `next_pa`.
#[derive(FromBytes)]
#[repr(C)]
pub(crate) struct FlbPage {
    pub(crate) pgcnt: u64,
    pub(crate) count: u64,
    pub(crate) entries: [FlbSer; MAX_FLBS],
}

const _: () = {
    assert!(size_of::<RootSer>() == 32);
    assert!(size_of::<SessionSer>() == 80 && SESSIONS_PER_BLOCK == 51);
    assert!(size_of::<FileSer>() == 64 && FILES_PER_BLOCK == 63);
    assert!(size_of::<FlbSer>() == 64 && MAX_FLBS == 63);
    assert!(size_of::<Block<SessionSer, SESSIONS_PER_BLOCK>>() <= PAGE_SIZE);
    assert!(size_of::<Block<FileSer, FILES_PER_BLOCK>>() <= PAGE_SIZE);
    assert!(size_of::<FlbPage>() <= PAGE_SIZE);
};

/// A structure that an ioctl takes, and for most also returns.
pub(crate) trait Request: FromBytes + IntoBytes + zerocopy::Immutable {
    /// The ioctl, `_IO(0xBA, nr)`.
    const CMD: u32;
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident = $nr:literal, $size:literal { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
        #[repr(C)]
        pub(crate) struct $name {
            /// The size of the structure as the caller knows it.
            pub(crate) size: u32,
            $($(#[$fdoc])* pub(crate) $field: $ty,)*
        }
        impl Request for $name {
            const CMD: u32 = ((IOCTL_TYPE as u32) << 8) | $nr;
        }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

/// The ioctl type of all commands.
const IOCTL_TYPE: u8 = 0xBA;

request! {
    /// Makes an outgoing session.
    CreateSession = 0x00, 72 { fd: i32, name: [u8; NAME_LEN] }
}
request! {
    /// Checks out an incoming session.
    RetrieveSession = 0x01, 72 { fd: i32, name: [u8; NAME_LEN] }
}
request! {
    /// Preserves a file under a token.
    PreserveFd = 0x40, 16 { fd: i32, token: u64 }
}
request! {
    /// Gets a file back by its token.
    RetrieveFd = 0x41, 16 { fd: i32, token: u64 }
}
request! {
    /// Ends an incoming session.
    Finish = 0x42, 8 { reserved: u32 }
}
request! {
    /// Asks for the name of a session.
    GetName = 0x43, 72 { reserved: u32, name: [u8; NAME_LEN] }
}
