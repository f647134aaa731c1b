// SPDX-License-Identifier: GPL-2.0-only

//! `RETRIEVE_FD` against what ends the session: a file is either delivered or finished unseen, never
//! both, and its handler makes it once.

use crate::{
    incoming::two_files_waiting,
    world::{done_with, finishes, nothing_is_left, retrieve},
};
use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_races::{Search, explore, race};
use luo_simulation::{finish, retrieve_contents, retrieve_fd};

#[test]
fn retrieve_fd_against_finish() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        let (retrieved, finished) = race(move || retrieve_fd(session, 1), move || finish(session));
        assert_eq!(finished, Ok(()));
        match retrieved {
            Ok(fd) => {
                assert_eq!(memfd::read(fd).unwrap(), b"a");
                assert_eq!(finishes(probe), ["untried", "a"]);
            }
            Err(err) => {
                assert_eq!(err, ENOENT);
                assert_eq!(finishes(probe), ["untried", "untried"]);
            }
        }
        nothing_is_left(device);
    });
}

/// The session stays as it is until the call that is under way has returned: what that delivers
/// counts as fetched.
#[test]
fn retrieve_fd_against_close() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        retrieve_fd(session, 2).unwrap();
        let (retrieved, closed) = race(
            move || retrieve_fd(session, 1),
            move || host::close(session),
        );
        assert_eq!(closed, Ok(()));
        match retrieved {
            Ok(fd) => {
                assert_eq!(memfd::read(fd).unwrap(), b"a");
                assert_eq!(finishes(probe), ["b", "a"]);
                assert_eq!(retrieve(device, "s"), Err(ENOENT));
            }
            Err(err) => {
                assert_eq!(err, EBADF);
                assert_eq!(finishes(probe), [""; 0]);
                let session = retrieve(device, "s").unwrap();
                assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
                done_with(session);
            }
        }
        nothing_is_left(device);
    });
}

#[test]
fn retrieve_fd_against_another() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        let task = move || retrieve_fd(session, 1).unwrap();
        let (one, other) = race(task, task);
        assert_ne!(one, other);
        assert_eq!(probe.calls(), ["retrieve untried"]);
        for fd in [one, other] {
            assert_eq!(memfd::read(fd).unwrap(), b"a");
        }
        done_with(session);
        nothing_is_left(device);
    });
}
