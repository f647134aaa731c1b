// SPDX-License-Identifier: GPL-2.0-only

//! Nothing that nobody has fetched is destroyed, except by FINISH.

use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_simulation::{
    create, finish, is_available, kexec, open_device, power_on, preserve_new, probe::Probe,
    retrieve, retrieve_contents, retrieve_fd,
};

/// A kernel in which a session "s" waits, with the file "a" under 1 and "b" under 2.
fn two_files() -> &'static Probe {
    let probe = power_on();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    preserve_new(session, "b", 2).unwrap();
    kexec(probe);
    probe.calls();
    probe
}

/// In C, close() finishes a retrieved session whether or not its files were fetched: those that
/// were not are gone.
#[test]
fn closing_with_files_left_makes_the_session_available_again() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
    host::close(session).unwrap();
    assert!(!probe.calls().iter().any(|it| it.starts_with("finish")));

    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
    assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
    assert_eq!(
        probe.calls(),
        ["retrieve untried"],
        "the first was not retrieved twice"
    );
}

/// In C, an agent that is killed between RETRIEVE_SESSION and its last RETRIEVE_FD takes every file
/// with it that it had not fetched.
#[test]
fn an_agent_that_crashes_loses_nothing() {
    two_files();
    host::as_process(2, || {
        let device = open_device().unwrap();
        let call = luo_simulation::uapi::Call::retrieve("s");
        call.on(device).unwrap();
        retrieve_fd(call.fd(), 1).unwrap();
        host::exit();
    });
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
    assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
}

#[test]
fn closing_after_all_files_were_fetched_finishes_the_session() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    let files = [1, 2].map(|token| retrieve_fd(session, token).unwrap());
    probe.calls();
    host::close(session).unwrap();
    let calls = ["can_finish a", "can_finish b", "finish b", "finish a"];
    assert_eq!(probe.calls(), calls);
    assert_eq!(retrieve("s"), Err(ENOENT));
    assert_eq!(memfd::read(files[0]).unwrap(), b"a");
}

#[test]
fn files_fetched_by_several_agents_count_together() {
    two_files();
    for token in [1, 2] {
        let session = retrieve("s").unwrap();
        retrieve_fd(session, token).unwrap();
        host::close(session).unwrap();
    }
    assert_eq!(retrieve("s"), Err(ENOENT));
}

#[test]
fn finish_discards_what_was_not_fetched() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    retrieve_fd(session, 1).unwrap();
    probe.calls();
    finish(session).unwrap();
    assert_eq!(probe.calls()[2..], ["finish untried", "finish a"]);
    assert_eq!(retrieve_fd(session, 1), Err(ENOENT));
    assert_eq!(finish(session), Ok(()), "a repeat does nothing");
    assert_eq!(probe.calls(), [""; 0]);
}

#[test]
fn a_session_is_retrieved_by_one_at_a_time_and_not_after_finish() {
    two_files();
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve("s"), Err(EINVAL));
    finish(session).unwrap();
    assert_eq!(
        retrieve("s"),
        Err(ENOENT),
        "although its descriptor is still open"
    );
    host::close(session).unwrap();
    assert_eq!(retrieve("s"), Err(ENOENT));
}

#[test]
fn a_handler_that_is_not_ready_holds_finish_up_and_nothing_has_changed() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    retrieve_fd(session, 1).unwrap();
    probe.refuse("can_finish untried", EBUSY);
    assert_eq!(finish(session), Err(EBUSY));
    assert!(!probe.calls().iter().any(|it| it.starts_with("finish")));
    assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
    assert_eq!(finish(session), Ok(()));
}

/// In C, a finish that fails on close leaves a session that nobody has and nobody can get.
#[test]
fn a_finish_that_fails_on_close_makes_the_session_available_again() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    for token in [1, 2] {
        retrieve_fd(session, token).unwrap();
    }
    probe.refuse("can_finish b", EBUSY);
    host::close(session).unwrap();
    assert!(is_available("s"));
    probe.relent();
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
    host::close(session).unwrap();
    assert_eq!(retrieve("s"), Err(ENOENT));
}

#[test]
fn a_file_that_cannot_be_retrieved_keeps_its_errno_and_the_session() {
    let probe = two_files();
    let session = retrieve("s").unwrap();
    probe.refuse("retrieve untried", EIO);
    assert_eq!(retrieve_fd(session, 1), Err(EIO));
    probe.relent();
    assert_eq!(retrieve_fd(session, 1), Err(EIO), "for good");
    assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
    host::close(session).unwrap();
    let session = retrieve("s").unwrap();
    probe.calls();
    finish(session).unwrap();
    assert_eq!(probe.calls()[2..], ["finish b", "finish failed EIO"]);
}
