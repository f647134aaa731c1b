// SPDX-License-Identifier: GPL-2.0-only

//! What is preserved comes back.

use kernel::{
    host::{self, memfd},
    liveupdate::fget,
    prelude::*,
};
use luo_simulation::{
    create, finish, kexec, power_on, preserve, preserve_new, retrieve, retrieve_contents,
    retrieve_fd, uapi::Call,
};

#[test]
fn what_is_preserved_comes_back_and_nothing_is_left_over() {
    let probe = power_on();
    kexec(probe);
    let idle_pages = host::pages_in_use();

    let large: String = (0..3000).map(|it| format!("line {it}\n")).collect();
    let vm = create("vm").unwrap();
    preserve_new(vm, "", 0).unwrap();
    preserve_new(vm, "state", u64::MAX).unwrap();
    let cache = create("cache").unwrap();
    preserve_new(cache, &large, 7).unwrap();
    kexec(probe);

    let cache = retrieve("cache").unwrap();
    assert_eq!(retrieve_contents(cache, 7).unwrap(), large);
    let vm = retrieve("vm").unwrap();
    assert_eq!(retrieve_contents(vm, u64::MAX).unwrap(), "state");
    assert_eq!(retrieve_contents(vm, 0).unwrap(), "");
    assert_eq!(retrieve_fd(vm, 7), Err(ENOENT));
    finish(vm).unwrap();
    finish(cache).unwrap();
    host::close(vm).unwrap();
    host::close(cache).unwrap();
    assert_eq!(host::pages_in_use(), idle_pages);
}

#[test]
fn a_file_can_be_carried_from_kernel_to_kernel() {
    let probe = power_on();
    let session = create("chain").unwrap();
    preserve_new(session, "carried", 1).unwrap();
    for hop in 1..=4 {
        kexec(probe);
        assert!(host::console().contains(&format!("live update number {hop}\n")));
        let incoming = retrieve("chain").unwrap();
        let file = retrieve_fd(incoming, 1).unwrap();
        assert_eq!(memfd::read(file).unwrap(), b"carried");
        finish(incoming).unwrap();
        host::close(incoming).unwrap();
        preserve(create("chain").unwrap(), file, 1).unwrap();
    }
}

#[test]
fn a_token_stands_for_one_file_however_often_it_is_retrieved() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "once", 1).unwrap();
    kexec(probe);
    let session = retrieve("s").unwrap();
    let first = retrieve_fd(session, 1).unwrap();
    let second = retrieve_fd(session, 1).unwrap();
    assert_ne!(first, second);
    let addr = |fd| fget(fd).unwrap().addr();
    assert_eq!(addr(first), addr(second));
    assert_eq!(
        probe.calls(),
        ["preserve once", "freeze once", "retrieve untried"]
    );
}

#[test]
fn descriptors_are_closed_on_exec() {
    let probe = power_on();
    let created = create("s").unwrap();
    assert_eq!(host::close_on_exec(created), Ok(true));
    preserve_new(created, "f", 1).unwrap();
    kexec(probe);
    let retrieved = retrieve("s").unwrap();
    assert_eq!(host::close_on_exec(retrieved), Ok(true));
    let file = retrieve_fd(retrieved, 1).unwrap();
    assert_eq!(host::close_on_exec(file), Ok(true));
}

#[test]
fn a_session_knows_its_name_on_both_sides() {
    let probe = power_on();
    let name = "n".repeat(63);
    let created = create(&name).unwrap();
    let named = |session| {
        let call = Call::get_name();
        call.on(session).unwrap();
        String::from_utf8(call.bytes()[8..].to_vec()).unwrap()
    };
    assert_eq!(named(created), format!("{name}\0"));
    kexec(probe);
    assert_eq!(named(retrieve(&name).unwrap()), format!("{name}\0"));
}

#[test]
fn a_session_without_files_comes_back() {
    let probe = power_on();
    create("empty").unwrap();
    kexec(probe);
    let session = retrieve("empty").unwrap();
    assert_eq!(retrieve_fd(session, 0), Err(ENOENT));
    finish(session).unwrap();
}

#[test]
fn closing_a_session_unpreserves_its_files_the_last_first() {
    let probe = power_on();
    let session = create("s").unwrap();
    for (token, file) in ["a", "b", "c"].into_iter().enumerate() {
        preserve_new(session, file, token as u64).unwrap();
    }
    probe.calls();
    host::close(session).unwrap();
    assert_eq!(
        probe.calls(),
        ["unpreserve c", "unpreserve b", "unpreserve a"]
    );
}

#[test]
fn a_closed_session_is_not_handed_over() {
    let probe = power_on();
    let idle_pages = host::pages_in_use();
    let session = create("gone").unwrap();
    preserve_new(session, "f", 1).unwrap();
    host::close(session).unwrap();
    assert_eq!(probe.calls(), ["preserve f", "unpreserve f"]);
    assert_eq!(host::pages_in_use(), idle_pages);
    kexec(probe);
    assert_eq!(retrieve("gone"), Err(ENOENT));
}

/// For want of memory a RETRIEVE_FD failed once, and the file could not be had any more.
#[test]
fn what_the_handler_lets_be_repeated_can_be_retrieved_later() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "guest", 1).unwrap();
    kexec(probe);
    probe.let_repeat();
    probe.refuse("retrieve untried", ENOMEM);
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_fd(session, 1), Err(ENOMEM));
    host::close(session).unwrap();
    // Nobody has fetched it, so that closing has not finished it.
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_fd(session, 1), Err(ENOMEM));
    probe.relent();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "guest");
    finish(session).unwrap();
}
