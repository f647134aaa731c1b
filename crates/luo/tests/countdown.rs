// SPDX-License-Identifier: GPL-2.0-only

//! Every allocation, every copy from and to user memory, and every callback fails once, at every point of some scenarios. Then
//! either all is done or nothing has changed, a repeat succeeds, and what was preserved arrives all the same.

use luo_model::{
    Direction::{self, Incoming, Outgoing},
    File, Flb, Handler, Image, Modules, Name, Obstacle, Op, Process, Session, Token,
};
use luo_simulation::countdown::fail_everywhere;

const AGENT: Process = Process(0);
const OTHER: Process = Process(1);
const BOTH: [u8; 2] = [0, 1];

fn create(name: u8) -> Op {
    let (process, name, obstacle) = (AGENT, Name(name), Obstacle::None);
    Op::Create {
        process,
        name,
        obstacle,
    }
}

fn make(file: u8, handler: u8) -> Op {
    let (process, file, handler) = (AGENT, File(file), Handler(handler));
    Op::MakeFile {
        process,
        file,
        handler,
    }
}

fn preserve(name: u8, file: u8, token: u64) -> Op {
    let (name, file, token) = (Name(name), File(file), Token(token));
    Op::Preserve { name, file, token }
}

fn retrieve(name: u8) -> Op {
    let (process, name, obstacle) = (AGENT, Name(name), Obstacle::None);
    Op::Retrieve {
        process,
        name,
        obstacle,
    }
}

fn retrieve_file(name: u8, token: u64) -> Op {
    let (name, token, into, obstacle) = (Name(name), Token(token), File(0), Obstacle::None);
    Op::RetrieveFile {
        name,
        token,
        into,
        obstacle,
    }
}

fn finish(name: u8) -> Op {
    Op::Finish { name: Name(name) }
}

fn close(direction: Direction, name: u8) -> Op {
    let session = Session {
        direction,
        name: Name(name),
    };
    Op::Close { session }
}

const fn kexec(modules: Modules) -> Op {
    let image = Image::WithHandover;
    Op::Kexec { image, modules }
}

const KEXEC: Op = kexec(Modules::All);

#[track_caller]
fn countdown(what: &str, before: &[Op], scenario: &[Op]) {
    let points = fail_everywhere(before, scenario);
    println!("{what}: {points:?}");
    assert!(points.allocations + points.copies + points.callbacks > 0);
}

#[test]
fn the_first_file_with_its_flbs_and_the_way_to_the_next_kernel() {
    let before = [make(0, 0), make(1, 1), make(2, 1)];
    let scenario = [
        create(0),
        preserve(0, 0, 0),
        preserve(0, 1, 1),
        create(1),
        preserve(1, 2, 0),
        KEXEC,
        Op::OpenDevice { process: AGENT },
        retrieve(0),
        retrieve_file(0, 0),
        retrieve_file(0, 1),
        close(Incoming, 0),
        retrieve(1),
        finish(1),
        KEXEC,
    ];
    countdown("one life", &before, &scenario);
}

#[test]
fn a_session_and_a_file_that_begin_a_block() {
    let before = [Op::CreateMany { process: AGENT }, create(0), make(0, 0)];
    let many = Op::PreserveMany {
        process: AGENT,
        name: Name(0),
    };
    let before = [before.as_slice(), &[many, preserve(0, 0, 0), make(0, 1)]].concat();
    // Two blocks of sessions, two blocks of files.
    let scenario = [
        create(1),
        preserve(0, 0, 1),
        KEXEC,
        retrieve(1),
        retrieve(0),
        retrieve_file(0, 66),
        retrieve_file(0, 1),
        finish(0),
    ];
    countdown("a new block", &before, &scenario);
}

#[test]
fn closing_and_trying_again() {
    let before = [make(0, 0), make(1, 1), create(0), preserve(0, 0, 0)];
    let scenario = [
        preserve(0, 1, 1),
        close(Outgoing, 0),
        create(0),
        preserve(0, 0, 1),
        preserve(0, 1, 0),
        KEXEC,
        retrieve(0),
        retrieve_file(0, 0),
        Op::Crash { process: AGENT },
        retrieve(0),
        retrieve_file(0, 1),
        close(Incoming, 0),
        KEXEC,
    ];
    countdown("close", &before, &scenario);
}

#[test]
fn a_kexec_that_is_refused_at_first() {
    let sessions = [make(0, 0), make(1, 1), create(0), preserve(0, 0, 0), KEXEC];
    let before = [
        &sessions[..],
        &[make(0, 0), make(1, 1), create(0), create(1)],
    ]
    .concat();
    let scenario = [
        KEXEC,
        Op::OpenDevice { process: OTHER },
        Op::CloseDevice { process: OTHER },
        preserve(0, 0, 0),
        preserve(1, 1, 0),
        Op::FinishAll { process: AGENT },
        KEXEC,
        retrieve(0),
        retrieve_file(0, 0),
        finish(0),
        retrieve(1),
        retrieve_file(1, 0),
        close(Incoming, 1),
    ];
    countdown("a refused kexec", &before, &scenario);
}

#[test]
fn modules_that_come_late() {
    let before = [
        make(0, 0),
        make(1, 1),
        create(0),
        preserve(0, 0, 0),
        preserve(0, 1, 1),
    ];
    let before = [&before[..], &[kexec(Modules::None)]].concat();
    let [first, second] = BOTH.map(|it| Op::Load {
        handler: Handler(it),
    });
    let scenario = [
        retrieve(0),
        first,
        retrieve(0),
        second,
        retrieve(0),
        retrieve_file(0, 1),
        finish(0),
        close(Incoming, 0),
        Op::Unload {
            handler: Handler(1),
        },
        second,
    ];
    countdown("modules", &before, &scenario);
}

#[test]
fn objects_of_flbs() {
    let before = [make(0, 0), make(1, 1), create(0)];
    let [outgoing, incoming] = [Outgoing, Incoming].map(|direction| {
        BOTH.map(Flb).map(|flb| {
            [
                Op::Borrow { direction, flb },
                Op::GiveBack { direction, flb },
            ]
        })
    });
    let scenario = [
        &[preserve(0, 0, 0), preserve(0, 1, 1)],
        outgoing.as_flattened(),
        // Not given back: it counts for nothing in the next kernel.
        &[outgoing[0][0], KEXEC],
        incoming.as_flattened(),
        &[retrieve(0), retrieve_file(0, 1), finish(0)],
    ];
    countdown("FLBs", &before, &scenario.concat());
}

#[test]
fn sessions_passed_on_by_a_kernel_that_does_not_retrieve_them() {
    let before = [
        make(0, 0),
        make(1, 0),
        create(0),
        preserve(0, 0, 0),
        preserve(0, 1, 1),
        create(1),
        KEXEC,
    ];
    let take_over = Op::Borrow {
        direction: Incoming,
        flb: Flb(0),
    };
    let scenario = [
        // Refused: what the FLB has kept would be lost.
        KEXEC,
        take_over,
        make(0, 1),
        create(2),
        preserve(2, 0, 0),
        KEXEC,
        take_over,
        retrieve(2),
        finish(2),
        create(0),
        // Refused: two sessions have the same name.
        KEXEC,
        close(Outgoing, 0),
        KEXEC,
        retrieve(0),
        retrieve_file(0, 1),
        retrieve_file(0, 0),
        finish(0),
        retrieve(1),
        finish(1),
    ];
    countdown("passed on", &before, &scenario);
}
