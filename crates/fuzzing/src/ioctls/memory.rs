// SPDX-License-Identifier: GPL-2.0-only

//! The memory that a call points to.

use super::{Fd, rules::Command, world::World};
use arbitrary::Arbitrary;
use kernel::host::user;

/// Names, some of which are none.
const NAMES: [&[u8]; 8] = [
    b"a",
    b"b",
    b"a\0behind",
    b"",
    b"\xff\n\x1b",
    &[b'n'; 63],
    &[b'n'; 64],
    b"\0a",
];

/// A structure in memory.
#[derive(Arbitrary, Debug, Clone)]
pub(super) struct Memory {
    fd: Fd,
    body: Body,
    /// What is wrong with it.
    wrong: Option<Wrong>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
struct Wrong {
    size: Size,
    /// The second field, where that is no descriptor.
    reserved: bool,
    /// What stands behind the structure.
    tail: Tail,
    mapping: Mapping,
}

/// Nothing is.
const RIGHT: Wrong = Wrong {
    size: Size::Right,
    reserved: false,
    tail: Tail::Zeroes,
    mapping: Mapping::AsLongAsItSays,
};

/// The size that the structure says to have.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Size {
    Right,
    More(u8),
    Less(u8),
    Any(u32),
}

#[derive(Arbitrary, Debug, Clone)]
enum Body {
    Name(u8),
    Token(u8),
    Any(Vec<u8>),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Tail {
    Zeroes,
    Byte(u8),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Mapping {
    AsLongAsItSays,
    Bytes(u8),
    ReadOnly,
    Nothing(usize),
}

/// A structure that is in memory now.
#[derive(Clone)]
pub(super) struct Mapped {
    pub(super) addr: usize,
    /// What is mapped there.
    pub(super) bytes: Vec<u8>,
    pub(super) writable: bool,
}

impl Memory {
    /// Puts it into memory, for this command.
    pub(super) fn map(&self, world: &World, command: Option<&Command>) -> Mapped {
        let wrong = self.wrong.unwrap_or(RIGHT);
        let right = command.map_or(16, |it| it.size);
        let size = match wrong.size {
            Size::Right => right as u32,
            Size::More(by) => right as u32 + u32::from(by),
            Size::Less(by) => right.saturating_sub(usize::from(by)) as u32,
            Size::Any(size) => size,
        };
        let has_fd = command.is_none_or(|it| it.has_fd);
        let second = if has_fd {
            world.find(self.fd)
        } else {
            i32::from(wrong.reserved)
        };
        let mut bytes = [size.to_le_bytes(), second.to_le_bytes()].concat();
        match &self.body {
            Body::Name(index) => bytes.extend(NAMES[usize::from(*index) % NAMES.len()]),
            Body::Token(token) => bytes.extend(u64::from(token % 4).to_le_bytes()),
            Body::Any(any) => bytes.extend(any.iter().take(64)),
        }
        bytes.resize(right, 0);
        // Nobody maps more than this.
        let as_it_says = (size as usize).min(1000);
        let len = match wrong.mapping {
            Mapping::Bytes(len) => usize::from(len),
            _ => as_it_says.max(4),
        };
        bytes.resize(len, 0);
        if let (Tail::Byte(at), Some(tail)) = (wrong.tail, bytes.get_mut(right..))
            && let Some(byte) = tail.get_mut(usize::from(at))
        {
            *byte = 1;
        }
        if let Mapping::Nothing(addr) = wrong.mapping {
            // Below all mappings, or far above.
            let addr = if addr % 2 == 0 {
                addr % 0x1000
            } else {
                usize::MAX - addr % 0x1000
            };
            return Mapped {
                addr,
                bytes: Vec::new(),
                writable: false,
            };
        }
        let addr = user::map(&bytes);
        let writable = !matches!(wrong.mapping, Mapping::ReadOnly);
        if !writable {
            user::write_protect(addr);
        }
        Mapped {
            addr,
            bytes,
            writable,
        }
    }
}
