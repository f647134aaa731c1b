// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Errnos and the order of the checks, and what has to hold on any implementation.

use liveupdate::uapi;
use luo_guest::proto::{Bulk, MemfdSpec, Op, Pages, Place};

use super::defects_probe::{both_back, counted, probe, set};
use crate::scenario::{
    Action, Flavor, Scenario,
    steps::{
        close, close_device, create, does, fails, fetch, finish, full, ioctl, kexec, memfd, open,
        preserve, retrieve, verify,
    },
};

const DEVICE: &str = "device";

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let name = |what: &str| format!("interface/{what} on {}", flavor.name());
    vec![
        Scenario::new(name("errnos of the device"), flavor, device_errnos()),
        Scenario::new(
            name("errnos of an outgoing session"),
            flavor,
            outgoing_errnos(),
        ),
        Scenario::new(
            name("errnos of an incoming session"),
            flavor,
            incoming_errnos(flavor),
        ),
        Scenario::new(
            name("closing gives everything back"),
            flavor,
            closing_gives_back(),
        ),
        Scenario::new(name("a freeze that fails"), flavor, failed_freeze(flavor))
            .expecting("Freeze failed")
            .expecting("cannot be frozen"),
        Scenario::new(
            name("a finished session is gone"),
            flavor,
            finished_is_gone(flavor),
        ),
    ]
}

/// The argument of `CREATE_SESSION` and `RETRIEVE_SESSION`.
pub(super) fn named_argument(size: u32, name: &[u8]) -> Vec<u8> {
    let mut bytes = words(size, 0);
    bytes.extend(name);
    bytes.resize(72.max(bytes.len()), 0);
    bytes
}

/// A `size` field and the word after it.
pub(super) fn words(size: u32, next: u32) -> Vec<u8> {
    [size.to_le_bytes(), next.to_le_bytes()].concat()
}

/// The argument of `PRESERVE_FD` and `RETRIEVE_FD`.
pub(super) fn token_argument(size: u32, fd: i32, token: u64) -> Vec<u8> {
    let mut bytes = words(size, fd.cast_unsigned());
    bytes.extend(token.to_le_bytes());
    bytes
}

fn with_tail(mut bytes: Vec<u8>, tail: u8) -> Vec<u8> {
    bytes.push(tail);
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&size.to_le_bytes());
    bytes
}

fn device_errnos() -> Vec<Action> {
    let call = |number, place, bytes| ioctl(DEVICE, number, place, bytes);
    let good = || named_argument(72, b"good");
    let create_number = uapi::CREATE_SESSION;
    vec![
        open(),
        fails(
            does(Op::OpenDevice {
                slot: "second".into(),
            }),
            libc::EBUSY,
        ),
        fails(call(0xBA02, Place::Normal, good()), libc::EINVAL),
        fails(call(0xBA3F, Place::Normal, good()), libc::EINVAL),
        fails(call(0xBB00, Place::Normal, good()), libc::ENOTTY),
        fails(
            call(create_number | 0x4000_0000, Place::Normal, good()),
            libc::ENOTTY,
        ),
        // The size is read before the number is compared, and after its range is checked.
        fails(call(0xBB00, Place::Null, good()), libc::EFAULT),
        fails(call(0xBA02, Place::Null, good()), libc::EINVAL),
        fails(call(create_number, Place::Null, good()), libc::EFAULT),
        fails(call(create_number, Place::Unmapped, good()), libc::EFAULT),
        fails(
            call(create_number, Place::Normal, named_argument(0, b"small")),
            libc::EINVAL,
        ),
        fails(
            call(create_number, Place::Normal, named_argument(71, b"small")),
            libc::EINVAL,
        ),
        fails(
            call(
                create_number,
                Place::LastBytesOfPage(4),
                named_argument(8, b""),
            ),
            libc::EINVAL,
        ),
        fails(
            call(create_number, Place::LastBytesOfPage(4), good()),
            libc::EFAULT,
        ),
        fails(
            call(create_number, Place::Normal, with_tail(good(), 1)),
            libc::E2BIG,
        ),
        fails(
            call(create_number, Place::Normal, named_argument(72, b"")),
            libc::EINVAL,
        ),
        fails(
            call(
                create_number,
                Place::Normal,
                named_argument(72, &[b'x'; 64]),
            ),
            libc::EINVAL,
        ),
        fails(
            call(uapi::RETRIEVE_SESSION, Place::Normal, good()),
            libc::ENOENT,
        ),
        // A session whose descriptor could not be delivered does not exist.
        fails(call(create_number, Place::ReadOnly, good()), libc::EFAULT),
        create("good"),
        fails(create("good"), libc::EEXIST),
        close("good"),
        call(
            create_number,
            Place::Normal,
            with_tail(named_argument(72, b"longer"), 0),
        ),
        close_device(),
        open(),
    ]
}

fn outgoing_errnos() -> Vec<Action> {
    let call = |number, bytes| ioctl("s", number, Place::Normal, bytes);
    let file = full(1, 4096);
    let hugetlb = MemfdSpec {
        pages: Pages::HugeTlb,
        ..full(0, 2 << 20)
    };
    let get_name = || {
        let mut bytes = words(72, 0);
        bytes.resize(72, 0);
        bytes
    };
    vec![
        open(),
        create("s"),
        create("other"),
        memfd("file", &file),
        memfd("hugetlb", &hugetlb),
        does(Op::OpenFile {
            slot: "null".into(),
            path: "/dev/null".into(),
        }),
        fails(call(0xBA3F, words(8, 0)), libc::EINVAL),
        fails(call(0xBA44, words(8, 0)), libc::EINVAL),
        fails(call(0xBB42, words(8, 0)), libc::ENOTTY),
        // The direction comes before the size.
        fails(call(uapi::FINISH, words(0, 0)), libc::EINVAL),
        fails(call(uapi::FINISH, words(8, 0)), libc::EINVAL),
        fails(
            call(uapi::RETRIEVE_FD, token_argument(16, -1, 1)),
            libc::EINVAL,
        ),
        fails(
            call(uapi::PRESERVE_FD, token_argument(15, -1, 1)),
            libc::EINVAL,
        ),
        fails(
            call(uapi::PRESERVE_FD, with_tail(token_argument(16, -1, 1), 9)),
            libc::E2BIG,
        ),
        fails(
            call(uapi::PRESERVE_FD, token_argument(16, -1, 1)),
            libc::EBADF,
        ),
        fails(preserve("s", 1, "null"), libc::ENOENT),
        fails(preserve("s", 1, "hugetlb"), libc::ENOENT),
        fails(preserve("s", 1, "s"), libc::ENOENT),
        preserve("s", 1, "file"),
        // A taken token is seen before the file is looked at.
        fails(preserve("s", 1, "null"), libc::EEXIST),
        fails(preserve("s", 2, "file"), libc::EBUSY),
        fails(preserve("other", 1, "file"), libc::EBUSY),
        fails(call(uapi::GET_NAME, words(8, 0)), libc::EINVAL),
        fails(
            call(uapi::GET_NAME, {
                let mut bytes = get_name();
                bytes[4] = 1;
                bytes
            }),
            libc::EINVAL,
        ),
        call(uapi::GET_NAME, get_name()),
        fails(
            ioctl("s", uapi::GET_NAME, Place::ReadOnly, get_name()),
            libc::EFAULT,
        ),
        // A failed call leaves the session as it was.
        close("s"),
        preserve("other", 1, "file"),
        verify("file", &file),
    ]
}

fn incoming_errnos(flavor: Flavor) -> Vec<Action> {
    let call = |number, bytes| ioctl("s", number, Place::Normal, bytes);
    let file = full(2, 8192);
    vec![
        open(),
        create("s"),
        memfd("file", &file),
        preserve("s", 1, "file"),
        close_device(),
        kexec(flavor),
        open(),
        retrieve("s"),
        fails(retrieve("s"), libc::EINVAL),
        memfd("new", &file),
        fails(preserve("s", 2, "new"), libc::EINVAL),
        fails(call(uapi::PRESERVE_FD, words(0, 0)), libc::EINVAL),
        fails(fetch("s", 2, "none"), libc::ENOENT),
        fails(
            call(uapi::RETRIEVE_FD, token_argument(15, -1, 1)),
            libc::EINVAL,
        ),
        fails(call(uapi::FINISH, words(8, 1)), libc::EINVAL),
        fails(call(uapi::FINISH, words(7, 0)), libc::EINVAL),
        // A file whose descriptor could not be delivered can be retrieved again.
        fails(
            ioctl(
                "s",
                uapi::RETRIEVE_FD,
                Place::ReadOnly,
                token_argument(16, -1, 1),
            ),
            libc::EFAULT,
        ),
        fetch("s", 1, "file"),
        fetch("s", 1, "again"),
        verify("again", &file),
        close("again"),
        verify("file", &file),
        finish("s"),
        finish("s"),
        close("s"),
        verify("file", &file),
        // A session of the same name can be created while nothing of it is outgoing.
        create("s"),
        preserve("s", 1, "file"),
    ]
}

fn closing_gives_back() -> Vec<Action> {
    let group = || "group".to_owned();
    let sessions = Bulk::Create {
        device: DEVICE.into(),
        prefix: "x".into(),
        first: 0,
        count: 2000,
        group: group(),
    };
    let round = || {
        let file = full(1, 32 << 20);
        vec![
            does(Op::Bulk(sessions.clone())),
            does(Op::Bulk(Bulk::Close { group: group() })),
            create("s"),
            memfd("file", &file),
            preserve("s", 1, "file"),
            verify("file", &file),
            close("s"),
            close("file"),
            does(Op::Sleep { ms: 300 }),
        ]
    };
    let mut actions = vec![open()];
    // The first round fills the allocators' caches.
    actions.extend(round());
    actions.push(Action::MarkMemory("after one round"));
    for _ in 0..3 {
        actions.extend(round());
    }
    actions.push(Action::SameMemory {
        mark: "after one round",
        tolerance_kib: 3 << 10,
    });
    actions
}

fn finished_is_gone(flavor: Flavor) -> Vec<Action> {
    let file = full(3, 4096);
    vec![
        open(),
        create("s"),
        memfd("file", &file),
        preserve("s", 1, "file"),
        close_device(),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "file"),
        // Nothing is left to fetch: closing finishes.
        close("s"),
        fails(retrieve("s"), libc::ENOENT),
        verify("file", &file),
        close_device(),
        kexec(flavor),
        open(),
        fails(retrieve("s"), libc::ENOENT),
    ]
}

/// What was frozen before the failure is thawed, and the kexec can be tried again.
fn failed_freeze(flavor: Flavor) -> Vec<Action> {
    let refuses = 222;
    let mut actions = vec![
        open(),
        create("before"),
        create("s"),
        memfd("memfd", &full(1, 8192)),
    ];
    actions.push(preserve("before", 1, "memfd"));
    actions.extend(probe("one", 111));
    actions.extend(probe("two", refuses));
    actions.extend([preserve("s", 1, "one"), preserve("s", 2, "two")]);
    actions.push(set("fail_freeze", &refuses.to_string()));
    actions.push(fails(
        kexec(flavor),
        i32::try_from(refuses).unwrap_or(i32::MAX),
    ));
    actions.extend([
        counted("frozen", "1"),
        counted("unfrozen", "1"),
        counted("unpreserved", "0"),
    ]);
    // Everything goes on as before.
    actions.extend([
        create("after"),
        fails(create("s"), libc::EEXIST),
        verify("memfd", &full(1, 8192)),
    ]);
    actions.extend([set("fail_freeze", "0"), close_device(), kexec(flavor)]);
    // C loses count of an FLB that nobody has asked for; that is judged elsewhere.
    actions.extend([set("hold_incoming", "1"), set("hold_incoming", "0")]);
    actions.extend(both_back());
    actions.extend([
        finish("s"),
        retrieve("before"),
        fetch("before", 1, "memfd"),
        verify("memfd", &full(1, 8192)),
    ]);
    actions.push(retrieve("after"));
    actions
}
