// SPDX-License-Identifier: GPL-2.0-only

//! memfds that outlive the kernel.
//!
//! Contents, size, position and seals are handed over, and whether the file may be executed. While a
//! memfd is preserved its size stays as it is and nothing is punched out of it; it can be read,
//! written and mapped, also where it has holes. It cannot be write-sealed, since its folios are
//! referenced. Seals, position and pages count as they are at the reboot.
//!
//! Not handed over: the name, the owner, what a chmod did to the mode, `O_APPEND` and other flags of
//! the descriptor. Files on a named tmpfs, and those with `MFD_HUGETLB`, are not taken.
//!
//! What cannot be retrieved for lack of memory stays as it is, and can be retrieved again. What is
//! broken stays unavailable, and is leaked.

#[path = "memfd_luo/abi.rs"]
mod abi;
#[path = "memfd_luo/array.rs"]
mod array;
#[path = "memfd_luo/folios.rs"]
mod folios;
#[path = "memfd_luo/handler.rs"]
mod handler;
#[path = "memfd_luo/incoming.rs"]
mod incoming;
#[path = "memfd_luo/outgoing.rs"]
mod outgoing;
#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
#[path = "memfd_luo/register.rs"]
mod register;

use kernel::error::Error;

#[cfg(CONFIG_LIVEUPDATE_MEMFD)]
const __LOG_PREFIX: &[u8] = b"memfd_luo\0";

/// "Operation not supported". The `kernel` crate has no name for it.
fn not_supported() -> Error {
    Error::from_errno(-95)
}

/// The handler, for programs that test it.
#[cfg(not(CONFIG_LIVEUPDATE_MEMFD))]
pub fn handler() -> impl kernel::liveupdate::ops::FileOps {
    handler::Memfd
}
