// SPDX-License-Identifier: GPL-2.0-only

//! What is refused whatever the sessions are like: number, size, command, direction, smallest size, contents, in this
//! order. This is `luo_ioctl()` and `luo_session_ioctl()` in C.

use super::memory::Mapped;
use kernel::prelude::*;
use luo_simulation::{ESHUTDOWN, uapi};

/// What a descriptor stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Device,
    Outgoing,
    Incoming,
    /// Nothing that these ioctls are for.
    File,
    Nothing,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) cmd: u32,
    /// The size of its structure.
    pub(super) size: usize,
    /// Whether the second field is a descriptor; otherwise it must be 0.
    pub(super) has_fd: bool,
    /// What it can be called on.
    on: &'static [Kind],
    /// Which bytes of the structure it answers in.
    pub(super) answer: core::ops::Range<usize>,
    /// How it can fail although the call is all right.
    pub(super) errnos: &'static [Error],
}

/// All commands.
pub(super) const COMMANDS: [Command; 6] = [
    Command {
        cmd: uapi::CREATE_SESSION,
        size: 72,
        has_fd: true,
        on: &[Kind::Device],
        answer: 4..8,
        errnos: &[EINVAL, EEXIST, ESHUTDOWN, EFAULT],
    },
    Command {
        cmd: uapi::RETRIEVE_SESSION,
        size: 72,
        has_fd: true,
        on: &[Kind::Device],
        answer: 4..8,
        errnos: &[ENOENT, EINVAL, ESHUTDOWN, EFAULT],
    },
    Command {
        cmd: uapi::PRESERVE_FD,
        size: 16,
        has_fd: true,
        on: &[Kind::Outgoing],
        answer: 0..0,
        errnos: &[EEXIST, EBADF, ENOENT, EBUSY, ESHUTDOWN],
    },
    Command {
        cmd: uapi::RETRIEVE_FD,
        size: 16,
        has_fd: true,
        on: &[Kind::Incoming],
        answer: 4..8,
        errnos: &[ENOENT, ESHUTDOWN, EFAULT],
    },
    Command {
        cmd: uapi::FINISH,
        size: 8,
        has_fd: false,
        on: &[Kind::Incoming],
        answer: 0..0,
        errnos: &[ESHUTDOWN],
    },
    Command {
        cmd: uapi::GET_NAME,
        size: 72,
        has_fd: false,
        on: &[Kind::Outgoing, Kind::Incoming],
        answer: 8..72,
        errnos: &[EFAULT],
    },
];

/// The command of this number.
pub(super) fn command(cmd: u32) -> Option<&'static Command> {
    COMMANDS.iter().find(|it| it.cmd == cmd)
}

/// How many bytes behind the structure are looked at in one go.
const PIECE: usize = 64;

/// Whether the call is one that the sessions decide about.
///
/// # Errors
///
/// What it is refused with.
pub(super) fn check(kind: Kind, cmd: u32, memory: &Mapped) -> Result<&'static Command> {
    let numbers = match kind {
        Kind::Device => 0x00..=0x01,
        Kind::Outgoing | Kind::Incoming => 0x40..=0x43,
        Kind::File => return Err(ENOTTY),
        Kind::Nothing => return Err(EBADF),
    };
    if !numbers.contains(&(cmd & 0xff)) {
        return Err(EINVAL);
    }
    let size = memory.bytes.first_chunk().ok_or(EFAULT)?;
    let size = u32::from_le_bytes(*size) as usize;
    let command = command(cmd).ok_or(ENOTTY)?;
    if !command.on.contains(&kind) || size < command.size {
        return Err(EINVAL);
    }
    let mut tail = command.size..size;
    while !tail.is_empty() {
        let piece = tail.start..tail.end.min(tail.start + PIECE);
        tail.start = piece.end;
        let bytes = memory.bytes.get(piece).ok_or(EFAULT)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(E2BIG);
        }
    }
    let structure = memory.bytes.get(..command.size).ok_or(EFAULT)?;
    if !command.has_fd && structure[4..8] != [0; 4] {
        return Err(EINVAL);
    }
    Ok(command)
}
