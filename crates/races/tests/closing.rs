// SPDX-License-Identifier: GPL-2.0-only

//! The close of an outgoing session, which unpreserves its files, against serialization.

use crate::world::{Stands, all, create, done_with, follow, jump, nothing_is_left, retrieve};
use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_races::{Search, explore, race};
use luo_simulation::{open_device, power_on, preserve, reboot, retrieve_contents};

/// Either the session is handed over as it was, or it is gone with all its files: a file that is
/// unpreserved after it was frozen would be freed memory that the next kernel uses.
#[test]
fn close_of_a_session_against_serialization() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let [kept, closed] = ["kept", "closed"].map(|it| create(device, it).unwrap());
        preserve(kept, memfd::create(b"a").unwrap(), 1).unwrap();
        preserve(closed, memfd::create(b"b").unwrap(), 1).unwrap();
        let (done, rebooted) = race(move || host::close(closed), reboot);
        assert_eq!((done, rebooted), (Ok(()), Ok(())));

        let calls = follow(probe, &[]);
        let device = jump(probe);
        let session = retrieve(device, "kept").unwrap();
        assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
        done_with(session);
        match retrieve(device, "closed") {
            Ok(session) => {
                assert_eq!(calls, all(["a", "b"], Stands::Frozen));
                assert_eq!(retrieve_contents(session, 1).unwrap(), "b");
                done_with(session);
            }
            Err(err) => {
                assert_eq!(err, ENOENT);
                assert_eq!(calls, all(["a"], Stands::Frozen));
            }
        }
        nothing_is_left(device);
    });
}

/// The names of sessions are unique, and free again with the close.
#[test]
fn close_of_a_session_against_creation_of_the_same_name() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let session = create(device, "s").unwrap();
        preserve(session, memfd::create(b"a").unwrap(), 1).unwrap();
        let (closed, created) = race(move || host::close(session), move || create(device, "s"));
        assert_eq!(closed, Ok(()));
        assert!(matches!(created, Ok(_) | Err(EEXIST)), "{created:?}");
        assert_eq!(follow(probe, &[]), all([], Stands::Preserved));

        // What there is now is what the one call said.
        let again = create(device, "s");
        assert_eq!(again.err(), created.ok().map(|_| EEXIST));
        assert_eq!(reboot(), Ok(()));
        let device = jump(probe);
        let session = retrieve(device, "s").unwrap();
        assert_eq!(luo_simulation::retrieve_fd(session, 1), Err(ENOENT));
        done_with(session);
        nothing_is_left(device);
    });
}

#[test]
fn creation_against_another_of_the_same_name() {
    explore(Search::Every, || {
        power_on();
        let device = open_device().unwrap();
        let task = move || create(device, "s");
        let both = race(task, task);
        assert!(
            matches!(both, (Ok(_), Err(EEXIST)) | (Err(EEXIST), Ok(_))),
            "{both:?}"
        );
    });
}
