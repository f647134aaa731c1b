// SPDX-License-Identifier: GPL-2.0-only

//! `RETRIEVE_SESSION`, FINISH and the close of a retrieved session against each other: a session is
//! had by one, its files are finished once, and nothing that nobody has fetched is gone.

use crate::world::{create, done_with, finishes, kexec, nothing_is_left, retrieve};
use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_races::{Search, explore, race};
use luo_simulation::{
    finish, open_device, power_on, preserve, probe::Probe, retrieve_contents, retrieve_fd,
    uapi::Call,
};

/// A kernel in which the session "s" waits, with "a" under 1 and "b" under 2; its device.
pub(crate) fn two_files_waiting() -> (&'static Probe, i32) {
    let probe = power_on();
    let session = create(open_device().unwrap(), "s").unwrap();
    for (token, contents) in [(1, b"a"), (2, b"b")] {
        preserve(session, memfd::create(contents).unwrap(), token).unwrap();
    }
    let device = kexec(probe);
    probe.calls();
    (probe, device)
}

/// Checks that both files can be fetched, and ends the session.
fn is_whole(session: i32) {
    for (token, contents) in [(1, "a"), (2, "b")] {
        assert_eq!(retrieve_contents(session, token).unwrap(), contents);
    }
    done_with(session);
}

#[test]
fn retrieve_session_against_finish() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        let (finished, retrieved) = race(move || finish(session), move || retrieve(device, "s"));
        assert_eq!(finished, Ok(()));
        assert!(matches!(retrieved, Err(EINVAL | ENOENT)), "{retrieved:?}");
        assert_eq!(finishes(probe), ["untried", "untried"]);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

#[test]
fn retrieve_session_against_close() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        retrieve_fd(session, 1).unwrap();
        let (closed, retrieved) = race(move || host::close(session), move || retrieve(device, "s"));
        assert_eq!(closed, Ok(()));
        assert!(matches!(retrieved, Ok(_) | Err(EINVAL)), "{retrieved:?}");
        assert_eq!(finishes(probe), [""; 0]);
        is_whole(retrieved.unwrap_or_else(|_| retrieve(device, "s").unwrap()));
        nothing_is_left(device);
    });
}

#[test]
fn retrieve_session_against_close_after_all_files() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        for token in [1, 2] {
            retrieve_fd(session, token).unwrap();
        }
        let (closed, retrieved) = race(move || host::close(session), move || retrieve(device, "s"));
        assert_eq!(closed, Ok(()));
        assert!(matches!(retrieved, Err(EINVAL | ENOENT)), "{retrieved:?}");
        assert_eq!(finishes(probe), ["b", "a"]);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

#[test]
fn retrieve_session_against_another() {
    explore(Search::Every, || {
        let (_, device) = two_files_waiting();
        let task = move || retrieve(device, "s");
        match race(task, task) {
            (Ok(session), Err(EINVAL)) | (Err(EINVAL), Ok(session)) => is_whole(session),
            both => panic!("{both:?}"),
        }
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

/// Nobody has the session while its descriptor is on the way, nor after it could not be delivered.
#[test]
fn retrieve_session_against_one_that_cannot_be_answered() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let unanswered = Call::retrieve("s").unwritable();
        let (failed, retrieved) =
            race(move || unanswered.on(device), move || retrieve(device, "s"));
        match (failed, retrieved) {
            (Err(EFAULT | EINVAL), Ok(session)) => is_whole(session),
            (Err(EFAULT), Err(EINVAL)) => is_whole(retrieve(device, "s").unwrap()),
            both => panic!("{both:?}"),
        }
        assert_eq!(finishes(probe), ["b", "a"]);
        nothing_is_left(device);
    });
}

#[test]
fn finish_against_another() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        retrieve_fd(session, 1).unwrap();
        let task = move || finish(session);
        assert_eq!(race(task, task), (Ok(()), Ok(())));
        assert_eq!(finishes(probe), ["untried", "a"]);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

/// The descriptor can be gone before FINISH has found the session, and not after.
#[test]
fn finish_against_close() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        let (finished, closed) = race(move || finish(session), move || host::close(session));
        assert_eq!(closed, Ok(()));
        match finished {
            Ok(()) => {
                assert_eq!(finishes(probe), ["untried", "untried"]);
                assert_eq!(retrieve(device, "s"), Err(ENOENT));
            }
            Err(err) => {
                assert_eq!(err, EBADF);
                assert_eq!(finishes(probe), [""; 0]);
                is_whole(retrieve(device, "s").unwrap());
            }
        }
        nothing_is_left(device);
    });
}
