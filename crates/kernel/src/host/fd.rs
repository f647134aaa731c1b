// SPDX-License-Identifier: GPL-2.0-only

//! Descriptors, and the system calls on them.

use super::machine;
use crate::{
    backend::task_local,
    error::{Result, code::*},
    fs::{File, file::flags::O_CLOEXEC},
    seq_file::{SeqFile, seq_print},
    sync::aref::ARef,
};
use core::{cell::Cell, ffi::CStr};
use std::collections::BTreeMap;

task_local! {
    static PROCESS: Cell<u32> = const { Cell::new(1) };
}

/// A number in the table of one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    process: u32,
    pub(crate) fd: u32,
}

#[derive(Default)]
struct Slot {
    file: Option<ARef<File>>,
    flags: u32,
}

/// The descriptor tables of all processes.
#[derive(Default)]
pub(crate) struct Descriptors {
    slots: BTreeMap<Number, Slot>,
    limit: Option<u32>,
}

impl Descriptors {
    pub(crate) fn reserve(&mut self, flags: u32) -> Result<Number> {
        let process = PROCESS.with(Cell::get);
        let number = |fd| Number { process, fd };
        let limit = self.limit.unwrap_or(u32::MAX);
        let mut numbers = (0..limit).map(number);
        let free = numbers.find(|it| !self.slots.contains_key(it));
        let free = free.ok_or(EMFILE)?;
        self.slots.insert(free, Slot { file: None, flags });
        Ok(free)
    }

    pub(crate) fn unreserve(&mut self, number: Number) {
        self.slots.remove(&number);
    }

    pub(crate) fn install(&mut self, number: Number, file: ARef<File>) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.file = Some(file);
        }
    }

    fn slot(&self, fd: i32) -> Option<&Slot> {
        let fd = u32::try_from(fd).ok()?;
        let process = PROCESS.with(Cell::get);
        self.slots.get(&Number { process, fd })
    }

    pub(crate) fn get(&self, fd: i32) -> Option<ARef<File>> {
        self.slot(fd)?.file.clone()
    }

    fn remove(&mut self, fd: i32) -> Option<Slot> {
        // A number that is only reserved is no descriptor yet.
        self.slot(fd)?.file.as_ref()?;
        let fd = u32::try_from(fd).ok()?;
        let process = PROCESS.with(Cell::get);
        self.slots.remove(&Number { process, fd })
    }
}

fn file(fd: i32) -> Result<ARef<File>> {
    machine::current().fds.lock().get(fd).ok_or(EBADF)
}

/// Runs `task` as another process, which has a table of its own.
pub fn as_process<R>(process: u32, task: impl FnOnce() -> R) -> R {
    let before = PROCESS.with(|it| it.replace(process));
    let result = task();
    PROCESS.with(|it| it.set(before));
    result
}

/// Installs `file` in the lowest free descriptor.
pub fn link(file: ARef<File>) -> Result<i32> {
    let machine = machine::current();
    let mut fds = machine.fds.lock();
    let number = fds.reserve(0)?;
    fds.install(number, file);
    Ok(number.fd.cast_signed())
}

/// Opens the device `name`: `ENOENT`, or what its driver gives.
pub fn open(name: &CStr) -> Result<i32> {
    let machine = machine::current();
    let device = machine.devices.lock().get(name).cloned();
    link(device.ok_or(ENOENT)?()?)
}

/// Closes a descriptor: `EBADF`.
pub fn close(fd: i32) -> Result {
    let slot = machine::current().fds.lock().remove(fd);
    slot.map(drop).ok_or(EBADF)
}

/// Ends the process: all its descriptors are closed, the lowest first.
pub fn exit() {
    loop {
        let machine = machine::current();
        let mut fds = machine.fds.lock();
        let own = |it: &&Number| it.process == PROCESS.with(Cell::get);
        let Some(&lowest) = fds.slots.keys().find(own) else {
            return;
        };
        let slot = fds.slots.remove(&lowest);
        drop(fds);
        drop(slot);
    }
}

/// Calls ioctl: `EBADF`, or what the file gives.
pub fn ioctl(fd: i32, cmd: u32, arg: usize) -> Result {
    file(fd)?.operations.ioctl(cmd, arg)
}

/// The end of `/proc/self/fdinfo/FD`, below the name of the file: `EBADF`.
pub fn fdinfo(fd: i32) -> Result<String> {
    let file = file(fd)?;
    let m = SeqFile::default();
    seq_print!(m, "{}\n", file.name);
    file.operations.show_fdinfo(&m);
    Ok(m.into_text())
}

/// Whether exec closes the descriptor: `EBADF`.
pub fn close_on_exec(fd: i32) -> Result<bool> {
    let machine = machine::current();
    let fds = machine.fds.lock();
    let slot = fds.slot(fd).filter(|it| it.file.is_some()).ok_or(EBADF)?;
    Ok(slot.flags & O_CLOEXEC != 0)
}

/// Lets every process have descriptors below `limit` only.
pub fn limit_descriptors(limit: u32) {
    machine::current().fds.lock().limit = Some(limit);
}
