// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What upstream's C does to a user: each scenario opens with the incident, and its judged action fails on C.

use liveupdate::uapi;
use luo_guest::proto::{Buffer, Bulk, Ending, Entry, Op, Place};

use super::interface::{named_argument, words};
use crate::scenario::{
    Action, Expect, Flavor, Hop, Scenario,
    steps::{
        close, close_device, create, does, fails, fetch, finish, full, ioctl, judge, kexec, memfd,
        open, preserve, raw_ioctl, retrieve, verify,
    },
};

const DEVICE: &str = "device";
/// How long a kexec may take that a blocked call has nothing to do with.
const HOP_S: u64 = 30;

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        Scenario::new(
            format!("defects/{what} on {}", flavor.name()),
            flavor,
            actions,
        )
    };
    vec![
        scenario("a duplicate name at 51 sessions", duplicate_at_51(flavor)),
        scenario(
            "an agent killed between session and last file",
            killed_agent(flavor),
        ),
        scenario(
            "an unwritable buffer for the session",
            unwritable_buffer(flavor),
        ),
        scenario("close with files left", close_with_files_left(flavor)),
        scenario(
            "finish, then retrieve by name",
            finish_then_retrieve(flavor),
        ),
        scenario("one file with an unknown handler", unknown_handler(flavor))
            .expecting("memfd-v2")
            .expecting("session files"),
        scenario(
            "kexec while a call is blocked on user memory",
            blocked_call(flavor),
        ),
        scenario("a 32-bit program", compat()),
        scenario("fdinfo of sessions", fdinfo(flavor)),
    ]
}

/// Session "s" with files 1 and 2 goes to the next kernel, where the device is closed.
pub(super) fn two_files_go_over(flavor: Flavor) -> Vec<Action> {
    vec![
        open(),
        create("s"),
        memfd("one", &full(1, 64 << 10)),
        memfd("two", &full(2, 128 << 10)),
        preserve("s", 1, "one"),
        preserve("s", 2, "two"),
        close_device(),
        kexec(flavor),
    ]
}

/// Both files of session "s", which is retrieved, are whole.
pub(super) fn both_files_are_whole() -> Vec<Action> {
    vec![
        fetch("s", 1, "one"),
        fetch("s", 2, "two"),
        verify("one", &full(1, 64 << 10)),
        verify("two", &full(2, 128 << 10)),
        finish("s"),
        close("s"),
    ]
}

/// A retried `CREATE_SESSION` of a name in use, when the sessions just fill their blocks: an empty block is handed over, and the
/// next kernel panics at boot.
fn duplicate_at_51(flavor: Flavor) -> Vec<Action> {
    let bulk = |retrieve: bool| {
        let (device, prefix, group) = (DEVICE.to_owned(), "x".to_owned(), "all".to_owned());
        does(Op::Bulk(match retrieve {
            false => Bulk::Create {
                device,
                prefix,
                first: 0,
                count: 51,
                group,
            },
            true => Bulk::Retrieve {
                device,
                prefix,
                first: 0,
                count: 51,
                group,
            },
        }))
    };
    vec![
        open(),
        bulk(false),
        fails(create("x000007"), libc::EEXIST),
        close_device(),
        judge(kexec(flavor), "the kernel panicked"),
        open(),
        bulk(true),
        fails(retrieve("x000051"), libc::ENOENT),
    ]
}

/// The agent retrieved the session and one of its files, and was killed: the file it had not fetched was destroyed.
fn killed_agent(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_files_go_over(flavor);
    let ops = vec![
        Op::OpenDevice { slot: "d".into() },
        Op::RetrieveSession {
            device: "d".into(),
            name: "s".into(),
            slot: "s".into(),
        },
        Op::Retrieve {
            session: "s".into(),
            token: 1,
            file: "one".into(),
        },
    ];
    let expect = Expect::Child(vec![Expect::Success; 3]);
    actions.push(Action::Do(
        Op::InChild {
            ops,
            then: Ending::Kill9,
            timeout_ms: 10_000,
        },
        expect,
    ));
    actions.push(open());
    actions.push(judge(retrieve("s"), "errno 2:"));
    actions.extend(both_files_are_whole());
    actions
}

/// `RETRIEVE_SESSION` could not store the descriptor and failed with EFAULT: the session was destroyed.
fn unwritable_buffer(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_files_go_over(flavor);
    actions.extend([
        open(),
        fails(
            ioctl(
                DEVICE,
                uapi::RETRIEVE_SESSION,
                Place::ReadOnly,
                named_argument(72, b"s"),
            ),
            libc::EFAULT,
        ),
        judge(retrieve("s"), "errno 2:"),
    ]);
    actions.extend(both_files_are_whole());
    actions
}

/// A session was closed before all its files were fetched: they were destroyed.
fn close_with_files_left(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_files_go_over(flavor);
    actions.extend([
        open(),
        retrieve("s"),
        fetch("s", 2, "two"),
        close("s"),
        judge(retrieve("s"), "errno 2:"),
    ]);
    actions.extend(both_files_are_whole());
    actions.push(fails(retrieve("s"), libc::ENOENT));
    actions
}

/// A finished session was still found by name, as if somebody had it checked out.
fn finish_then_retrieve(flavor: Flavor) -> Vec<Action> {
    let mut actions = two_files_go_over(flavor);
    actions.extend([open(), retrieve("s"), fetch("s", 1, "one"), finish("s")]);
    actions.push(judge(fails(retrieve("s"), libc::ENOENT), "errno 22"));
    actions.push(verify("one", &full(1, 64 << 10)));
    actions
}

/// The next kernel did not know the handler of one file: no session at all could be retrieved.
fn unknown_handler(flavor: Flavor) -> Vec<Action> {
    vec![
        open(),
        create("with a memfd"),
        create("empty"),
        memfd("file", &full(1, 4096)),
        preserve("with a memfd", 1, "file"),
        close_device(),
        Action::Kexec(Hop {
            cmdline: "initcall_blacklist=memfd_luo_init",
            ..Hop::to(flavor)
        }),
        judge(open(), "errno 5:"),
        retrieve("empty"),
        finish("empty"),
        fails(retrieve("with a memfd"), libc::EIO),
        create("new"),
        close_device(),
        open(),
        fails(retrieve("with a memfd"), libc::EIO),
    ]
}

/// A call slept on user memory with the gate held, and reboot(2) slept with it, for ever.
fn blocked_call(flavor: Flavor) -> Vec<Action> {
    let mut get_name = words(72, 0);
    get_name.resize(72, 0);
    let ops = vec![
        Op::OpenDevice { slot: "d".into() },
        Op::CreateSession {
            device: "d".into(),
            name: "held by the blocked".into(),
            slot: "s".into(),
        },
        Op::Close { slot: "d".into() },
        raw_ioctl(
            "s",
            uapi::GET_NAME,
            Place::WriteBlocks,
            get_name,
            Entry::Native,
        ),
    ];
    let expect = Expect::ChildHangs(vec![Expect::Success; 3]);
    vec![
        Action::Do(
            Op::InChild {
                ops,
                then: Ending::Stay,
                timeout_ms: 1500,
            },
            expect,
        ),
        judge(
            Action::Kexec(Hop {
                timeout_s: HOP_S,
                ..Hop::to(flavor)
            }),
            "no answer within",
        ),
        open(),
        retrieve("held by the blocked"),
    ]
}

/// A 32-bit program got ENOTTY for every call.
fn compat() -> Vec<Action> {
    let mut get_name = words(72, 0);
    get_name.resize(72, 0);
    let call =
        |slot, number, bytes| does(raw_ioctl(slot, number, Place::Normal, bytes, Entry::Compat));
    vec![
        open(),
        judge(
            call(
                DEVICE,
                uapi::CREATE_SESSION,
                named_argument(72, b"made by 32 bits"),
            ),
            "errno 25:",
        ),
        fails(create("made by 32 bits"), libc::EEXIST),
        create("s"),
        call("s", uapi::GET_NAME, get_name),
        does(Op::Ioctl {
            slot: DEVICE.into(),
            number: uapi::CREATE_SESSION,
            buffer: Buffer {
                place: Place::Normal,
                bytes: named_argument(72, b"another"),
            },
            entry: Entry::Native,
        }),
    ]
}

/// Nothing told what a session holds.
fn fdinfo(flavor: Flavor) -> Vec<Action> {
    let shows = |parts| Action::Do(Op::FdInfo { slot: "s".into() }, Expect::Text(parts));
    let incoming = |parts| {
        let path = "/sys/kernel/debug/luo/incoming".into();
        Action::Do(Op::ReadFile { path }, Expect::Text(parts))
    };
    vec![
        open(),
        create("s"),
        memfd("one", &full(1, 4096)),
        preserve("s", 0x1a, "one"),
        Action::Do(
            Op::FdLink { slot: "s".into() },
            Expect::Exactly("anon_inode:[luo_session] s"),
        ),
        judge(
            shows(vec![
                "luo-session:\ts\n",
                "luo-direction:\toutgoing\n",
                "luo-file:\t0x1a memfd-v2 ",
                "luo-size:\t0x1a 4096\n",
            ]),
            "is not in",
        ),
        close_device(),
        kexec(flavor),
        incoming(vec![
            "live update: 1\n",
            "flb 'liveupdate-test-flb-v0': 1 files, ",
            "sessions: not read ",
        ]),
        open(),
        incoming(vec!["session 's': available, 1 files\n"]),
        retrieve("s"),
        incoming(vec!["session 's': retrieved, 1 files\n"]),
        shows(vec![
            "luo-session:\ts\n",
            "luo-direction:\tincoming\n",
            "luo-state:\t",
            "luo-file:\t0x1a memfd-v2 waiting",
        ]),
        fetch("s", 0x1a, "one"),
        shows(vec![
            "luo-file:\t0x1a memfd-v2 retrieved",
            "luo-size:\t0x1a 4096\n",
        ]),
        finish("s"),
        shows(vec!["luo-state:\tfinished"]),
    ]
}
