// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The live update calls, each as one system call with nothing in between.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use liveupdate::uapi::{
    self, Finish, GetName, NamedSession, SESSION_NAME_LENGTH, TokenFd, size_field,
};
use luo_guest::proto::{Failure, Op, Outcome, Reply};
use rustix::{
    fs::{Mode, OFlags},
    ioctl::Opcode,
};

use crate::{
    ioctl,
    slots::{Slots, Tried as _, other},
};

pub(crate) fn run(slots: &mut Slots, op: Op) -> Outcome {
    match op {
        Op::OpenDevice { slot } => {
            slots.put(&slot, open()?);
        }
        Op::AwaitDevice { slot } => {
            let device = loop {
                match open() {
                    Err(failure) if failure.errno == libc::EBUSY => std::thread::yield_now(),
                    opened => break opened?,
                }
            };
            slots.put(&slot, device);
        }
        Op::CreateSession { device, name, slot } => {
            let fd = session(slots.get(&device)?.as_raw_fd(), uapi::CREATE_SESSION, &name)?;
            slots.put(&slot, fd);
        }
        Op::RetrieveSession { device, name, slot } => {
            let fd = session(
                slots.get(&device)?.as_raw_fd(),
                uapi::RETRIEVE_SESSION,
                &name,
            )?;
            slots.put(&slot, fd);
        }
        Op::Preserve {
            session,
            token,
            file,
        } => {
            preserve(
                slots.get(&session)?.as_raw_fd(),
                token,
                slots.get(&file)?.as_raw_fd(),
            )?;
        }
        Op::Retrieve {
            session,
            token,
            file,
        } => {
            let fd = retrieve(slots.get(&session)?.as_raw_fd(), token)?;
            slots.put(&file, fd);
        }
        Op::Finish { session } => finish(slots.get(&session)?.as_raw_fd())?,
        Op::GetName { session } => {
            let mut argument = GetName {
                size: size_field::<GetName>(),
                reserved: 0,
                name: [0; _],
            };
            call(
                slots.get(&session)?.as_raw_fd(),
                uapi::GET_NAME,
                &mut argument,
            )
            .tried("GET_NAME")?;
            let name = argument
                .name
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            return Ok(Reply::Text(String::from_utf8_lossy(name).into_owned()));
        }
        Op::Ioctl {
            slot,
            number,
            buffer,
            entry,
        } => {
            return ioctl::raw(slots.get(&slot)?.as_raw_fd(), number, &buffer, entry);
        }
        op => return Err(other(format!("not about live update: {op:?}"))),
    }
    Ok(Reply::Done)
}

fn open() -> Result<OwnedFd, Failure> {
    let path = liveupdate::DEVICE_PATH;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).tried(format!("open {path}"))
}

pub(crate) fn session(device: RawFd, command: Opcode, name: &str) -> Result<OwnedFd, Failure> {
    // A name of 64 bytes goes without its NUL: the kernel's check is under test, not ours.
    if name.len() > SESSION_NAME_LENGTH {
        return Err(other(format!(
            "the name has {} bytes, the field {SESSION_NAME_LENGTH}",
            name.len()
        )));
    }
    let mut argument = NamedSession {
        size: size_field::<NamedSession>(),
        fd: -1,
        name: [0; _],
    };
    argument.name[..name.len()].copy_from_slice(name.as_bytes());
    let what = if command == uapi::CREATE_SESSION {
        "CREATE_SESSION"
    } else {
        "RETRIEVE_SESSION"
    };
    call(device, command, &mut argument).tried(format!("{what} {name}"))?;
    // SAFETY: on success the kernel has stored a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
}

pub(crate) fn preserve(session: RawFd, token: u64, file: RawFd) -> Result<(), Failure> {
    let mut argument = TokenFd {
        size: size_field::<TokenFd>(),
        fd: file,
        token,
    };
    call(session, uapi::PRESERVE_FD, &mut argument).tried(format!("PRESERVE_FD token {token:#x}"))
}

pub(crate) fn retrieve(session: RawFd, token: u64) -> Result<OwnedFd, Failure> {
    let mut argument = TokenFd {
        size: size_field::<TokenFd>(),
        fd: -1,
        token,
    };
    call(session, uapi::RETRIEVE_FD, &mut argument)
        .tried(format!("RETRIEVE_FD token {token:#x}"))?;
    // SAFETY: on success the kernel has stored a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
}

pub(crate) fn finish(session: RawFd) -> Result<(), Failure> {
    let mut argument = Finish {
        size: size_field::<Finish>(),
        reserved: 0,
    };
    call(session, uapi::FINISH, &mut argument).tried("FINISH")
}

fn call<T>(fd: RawFd, command: Opcode, argument: &mut T) -> std::io::Result<()> {
    // SAFETY: every command of the interface reads and writes at most the `size` bytes that its argument names, and each caller
    // passes the command's own structure with its own size.
    let result = unsafe { libc::ioctl(fd, command.into(), std::ptr::from_mut(argument)) };
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}
