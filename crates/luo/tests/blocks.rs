// SPDX-License-Identifier: GPL-2.0-only

//! Sets that fill whole blocks: 51 sessions and 63 files fit into one.

use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_simulation::{
    create, finish, is_available, kexec, power_on, preserve_new, retrieve, retrieve_contents,
};

fn name(number: usize) -> String {
    format!("session-{number}")
}

fn create_many(count: usize) -> Vec<i32> {
    (0..count).map(|it| create(&name(it)).unwrap()).collect()
}

fn all_come_back(count: usize) {
    assert!((0..count).all(|it| is_available(&name(it))));
    assert_eq!(retrieve(&name(count)), Err(ENOENT));
}

/// With 51 sessions, C makes room for one more before it finds that the name is taken, and keeps
/// the empty block. The next kernel panics on it.
#[test]
fn a_duplicate_at_the_end_of_a_block_leaves_no_empty_block() {
    let probe = power_on();
    create_many(51);
    let pages = host::pages_in_use();
    assert_eq!(create(&name(50)), Err(EEXIST));
    assert_eq!(host::pages_in_use(), pages);
    kexec(probe);
    all_come_back(51);
}

#[test]
fn an_unwritable_answer_at_the_end_of_a_block_leaves_no_empty_block() {
    let probe = power_on();
    create_many(51);
    let pages = host::pages_in_use();
    let device = luo_simulation::open_device().unwrap();
    let call = luo_simulation::uapi::Call::create("more").unwritable();
    assert_eq!(call.on(device), Err(EFAULT));
    assert_eq!(host::pages_in_use(), pages);
    kexec(probe);
    all_come_back(51);
}

#[test]
fn sessions_come_back_whatever_their_number() {
    for count in [1, 50, 51, 52, 102, 103, 500] {
        let probe = power_on();
        create_many(count);
        kexec(probe);
        all_come_back(count);
    }
}

#[test]
fn files_come_back_whatever_their_number() {
    for count in [1, 62, 63, 64, 126, 127, 400] {
        let probe = power_on();
        let session = create("s").unwrap();
        for token in 0..count {
            preserve_new(session, &token.to_string(), token).unwrap();
        }
        kexec(probe);
        let session = retrieve("s").unwrap();
        for token in (0..count).rev() {
            assert_eq!(
                retrieve_contents(session, token).unwrap(),
                token.to_string()
            );
        }
        finish(session).unwrap();
    }
}

#[test]
fn a_refused_file_at_the_end_of_a_block_leaves_no_empty_block() {
    let probe = power_on();
    let session = create("s").unwrap();
    for token in 0..63 {
        preserve_new(session, "f", token).unwrap();
    }
    let file = memfd::create(b"refused").unwrap();
    let pages = host::pages_in_use();
    probe.refuse("preserve refused", EIO);
    assert_eq!(luo_simulation::preserve(session, file, 63), Err(EIO));
    assert_eq!(host::pages_in_use(), pages);
    kexec(probe);
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 62).unwrap(), "f");
    assert_eq!(retrieve_contents(session, 63), Err(ENOENT));
}

#[test]
fn blocks_shrink_with_the_sessions_that_are_closed() {
    let probe = power_on();
    let idle_pages = host::pages_in_use();
    let sessions = create_many(120);
    assert_eq!(host::pages_in_use(), idle_pages + 3);
    for session in &sessions[..69] {
        host::close(*session).unwrap();
    }
    assert_eq!(host::pages_in_use(), idle_pages + 1);
    kexec(probe);
    assert_eq!(retrieve(&name(68)), Err(ENOENT));
    assert!((69..120).all(|it| is_available(&name(it))));
}
