// SPDX-License-Identifier: GPL-2.0-only

//! The machine on which the program runs, and what is checked of each call.

use super::{
    Call, Fd, Meanwhile, Other, Step,
    memory::Mapped,
    rules::{self, Command, Kind},
};
use crate::{keeper, retrieve};
use kernel::{host, host::user, prelude::*};
use luo::host_api;
use luo_simulation::{
    ESHUTDOWN, finish, open_device, reboot,
    uapi::{self, Call as KnownCall},
};
use std::cell::RefCell;

/// What the program knows.
#[derive(Default)]
pub(super) struct World {
    /// All descriptors, and what they stand for.
    fds: Vec<(i32, Kind)>,
    handed_over: bool,
    /// How many kernels there were before this one.
    kexecs: usize,
    nr_files: u64,
    /// Whether an allocation was, or is, to fail.
    starved: bool,
    limited: bool,
    /// How many things have happened to other programs while one waited for its memory.
    meanwhile: usize,
}

thread_local! {
    // Not held while anything is called: a call can lead to another.
    static WORLD: RefCell<World> = RefCell::default();
}

fn with<R>(look: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(look)
}

impl World {
    /// Switches the machine on.
    pub(super) fn power_on() {
        keeper::power_on();
        WORLD.set(Self::default());
    }

    /// The descriptor that is meant.
    pub(super) fn find(&self, fd: Fd) -> i32 {
        let (kind, index) = match fd {
            Fd::Device(index) => (Kind::Device, index),
            Fd::Outgoing(index) => (Kind::Outgoing, index),
            Fd::Incoming(index) => (Kind::Incoming, index),
            Fd::File(index) => (Kind::File, index),
            Fd::Any(fd) => return fd,
        };
        let of_kind: Vec<_> = self.fds.iter().filter(|it| it.1 == kind).collect();
        let index = usize::from(index).checked_rem(of_kind.len());
        index.map_or(-1, |index| of_kind[index].0)
    }

    fn kind(&self, fd: i32) -> Kind {
        let known = self.fds.iter().find(|it| it.0 == fd);
        known.map_or(Kind::Nothing, |it| it.1)
    }
}

/// Goes one step.
pub(super) fn step(step: &Step) {
    match step {
        Step::Open => open(),
        Step::File(kind) => {
            let serial = with(|it| {
                it.nr_files += 1;
                it.nr_files
            });
            if let Ok(fd) = keeper::create(usize::from(kind % 2), serial) {
                with(|it| it.fds.push((fd, Kind::File)));
            }
        }
        Step::Call(it, meanwhile) => call(it, meanwhile.clone()),
        Step::Close(fd) => close(*fd),
        Step::Show(fd) => {
            let (fd, kind) = with(|it| (it.find(*fd), it.kind(it.find(*fd))));
            let shown = host::fdinfo(fd);
            assert_eq!(shown.is_err(), kind == Kind::Nothing);
        }
        Step::Exit => {
            with(|it| it.fds.clear());
            host::exit();
        }
        Step::Reboot => hand_over(),
        Step::Kexec => {
            if !with(|it| it.handed_over) {
                hand_over();
            }
            if with(|it| it.handed_over) {
                kexec();
            }
        }
        Step::FailAllocation(successes) => {
            host::fail_allocation(Some(usize::from(*successes)));
            with(|it| it.starved = true);
        }
        Step::LimitDescriptors(limit) => {
            host::limit_descriptors(u32::from(*limit));
            with(|it| it.limited = true);
        }
    }
}

fn open() {
    let others = with(|it| it.fds.iter().any(|it| it.1 == Kind::Device));
    match open_device() {
        Ok(fd) => {
            assert!(!others, "the device is opened twice");
            with(|it| it.fds.push((fd, Kind::Device)));
        }
        Err(err) if err == EBUSY => assert!(others),
        Err(err) => assert!(is_shortage(err), "open: {err:?}"),
    }
}

fn close(fd: Fd) {
    let (fd, kind) = with(|it| (it.find(fd), it.kind(it.find(fd))));
    // Known no more before others can see it.
    with(|it| it.fds.retain(|it| it.0 != fd));
    assert_eq!(host::close(fd).is_err(), kind == Kind::Nothing);
}

fn close_all() {
    for (fd, _) in with(|it| core::mem::take(&mut it.fds)) {
        host::close(fd).unwrap();
    }
}

fn hand_over() {
    let before = with(|it| it.handed_over);
    match reboot() {
        Ok(()) => {
            assert!(!before, "handed over twice");
            with(|it| it.handed_over = true);
        }
        Err(err) if err == ESHUTDOWN => assert!(before),
        Err(err) if err == EBUSY => assert_ne!(with(|it| it.kexecs), 0),
        Err(err) => assert!(is_shortage(err), "reboot: {err:?}"),
    }
}

fn kexec() {
    host::kexec();
    keeper::boot().unwrap();
    with(|it| {
        *it = World {
            kexecs: it.kexecs + 1,
            nr_files: it.nr_files,
            ..World::default()
        }
    });
}

/// Whether something was used up that the program has made scarce.
fn is_shortage(err: Error) -> bool {
    with(|it| (err == ENOMEM && it.starved) || (err == EMFILE && it.limited))
}

/// What a call that fails must leave as it is.
fn state() -> (usize, Vec<Result<String>>) {
    let fds = with(|it| it.fds.clone());
    let shown = fds.iter().map(|(fd, _)| host::fdinfo(*fd)).collect();
    (host::pages_in_use(), shown)
}

fn call(call: &Call, meanwhile: Option<Meanwhile>) {
    let cmd = call.cmd.number();
    let known = rules::command(cmd);
    let memory = with(|it| call.memory.map(it, known));
    let (fd, kind) = with(|it| (it.find(call.fd), it.kind(it.find(call.fd))));
    if let Some(it) = meanwhile.filter(|_| !memory.bytes.is_empty()) {
        let access = it.access();
        user::on_fault(memory.addr, access, move || other(&it.what));
    }
    let before = state();
    let count = with(|it| it.meanwhile);
    let result = host::ioctl(fd, cmd, memory.addr);
    let alone = with(|it| it.meanwhile) == count;
    match rules::check(kind, cmd, &memory) {
        Err(refused) => {
            assert_eq!(result, Err(refused), "{call:?}");
            check_memory(&memory, 0..0);
            assert!(
                !alone || state() == before,
                "{call:?} has changed something"
            );
        }
        Ok(command) => match result {
            Ok(()) => succeeded(command, &memory),
            Err(err) => {
                let may = command.errnos.contains(&err) || is_shortage(err);
                assert!(may, "{call:?}: {err:?}");
                assert!(err != EFAULT || !memory.writable, "{call:?}: {err:?}");
                failed(command, err, &memory);
                // The file has been made anew then, for the next time.
                let half_done = cmd == uapi::RETRIEVE_FD && err != ENOENT && err != ESHUTDOWN;
                assert!(
                    !alone || half_done || state() == before,
                    "{call:?}: {err:?} and changes"
                );
            }
        },
    }
}

/// Only the answer has changed.
fn check_memory(memory: &Mapped, answer: core::ops::Range<usize>) {
    if memory.bytes.is_empty() {
        return;
    }
    let now = user::contents(memory.addr);
    for (at, (before, now)) in memory.bytes.iter().zip(&now).enumerate() {
        assert!(
            before == now || answer.contains(&at),
            "byte {at} is written"
        );
    }
    assert_eq!(now.len(), memory.bytes.len());
}

fn succeeded(command: &Command, memory: &Mapped) {
    check_memory(memory, command.answer.clone());
    let kind = match command.cmd {
        uapi::CREATE_SESSION => Kind::Outgoing,
        uapi::RETRIEVE_SESSION => Kind::Incoming,
        uapi::RETRIEVE_FD => Kind::File,
        _ => return,
    };
    let now = user::contents(memory.addr);
    let fd = i32::from_le_bytes(now[4..8].try_into().unwrap());
    assert_eq!(
        with(|it| it.kind(fd)),
        Kind::Nothing,
        "{fd} was given out before"
    );
    assert_eq!(host::close_on_exec(fd), Ok(true));
    let shown = host::fdinfo(fd).unwrap();
    let word = match kind {
        Kind::Outgoing => "luo-direction:\toutgoing\n",
        Kind::Incoming => "luo-state:\tretrieved\n",
        _ => "parcel\n",
    };
    assert!(shown.contains(word), "{shown}");
    with(|it| it.fds.push((fd, kind)));
}

fn failed(command: &Command, err: Error, memory: &Mapped) {
    // Where there is no memory for the file itself, the answer is out already.
    let answer = if err == ENOMEM {
        command.answer.clone()
    } else {
        0..0
    };
    check_memory(memory, answer);
}

/// Runs while a call waits for its memory.
fn other(what: &Other) {
    with(|it| it.meanwhile += 1);
    match what {
        Other::Open => open(),
        Other::Close(fd) => close(*fd),
        Other::CloseAll => close_all(),
        Other::Reboot => hand_over(),
        Other::Call(it) => call(it, None),
    }
}

/// Ends the program: whatever is handed over is there in the next kernel, and when it is finished nothing is left.
pub(super) fn end() {
    host::fail_allocation(None);
    let mut names = Vec::new();
    if with(|it| it.handed_over) {
        let fds = with(|it| it.fds.clone());
        let outgoing = fds.iter().filter(|it| it.1 == Kind::Outgoing);
        names.extend(outgoing.map(|it| name_of(it.0)));
        kexec();
    }
    close_all();
    for name in names {
        let session = retrieve(&name).unwrap();
        finish(session).unwrap();
        host::close(session).unwrap();
    }
    if reboot().is_ok() {
        let of_the_previous = usize::from(with(|it| it.kexecs) > 0);
        // A page lists the sessions without files that nobody has finished: they are passed on.
        let shown = host_api::show_incoming().unwrap();
        let passed_on = usize::from(shown.contains("': available, 0 files"));
        assert_eq!(
            host::pages_in_use(),
            2 + of_the_previous + passed_on,
            "pages are left"
        );
    }
}

fn name_of(session: i32) -> [u8; 64] {
    let call = KnownCall::get_name();
    call.on(session).unwrap();
    call.bytes()[8..].try_into().unwrap()
}
