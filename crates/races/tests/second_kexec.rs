// SPDX-License-Identifier: GPL-2.0-only

//! What happens to incoming sessions against serialization, which an unfinished one refuses: either
//! it is finished before, or everything goes on.

use crate::{
    incoming::two_files_waiting,
    world::{done_with, finishes, jump, nothing_is_left, retrieve},
};
use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_races::{Search, explore, race};
use luo_simulation::{finish, preserve, reboot, retrieve_contents, retrieve_fd};

#[test]
fn finish_against_serialization() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        let (finished, rebooted) = race(move || finish(session), reboot);
        assert_eq!(finished, Ok(()));
        assert_eq!(finishes(probe), ["untried", "untried"]);
        if rebooted != Ok(()) {
            assert_eq!(rebooted, Err(EBUSY));
            assert_eq!(reboot(), Ok(()));
        }
        let device = jump(probe);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

#[test]
fn finishing_close_against_serialization() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = retrieve(device, "s").unwrap();
        for token in [1, 2] {
            retrieve_fd(session, token).unwrap();
        }
        let (closed, rebooted) = race(move || host::close(session), reboot);
        assert_eq!(closed, Ok(()));
        assert_eq!(finishes(probe), ["b", "a"]);
        if rebooted != Ok(()) {
            assert_eq!(rebooted, Err(EBUSY));
            assert_eq!(reboot(), Ok(()));
        }
        let device = jump(probe);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

/// The session changes hands, is fetched from and put back meanwhile.
#[test]
fn retrieval_against_serialization() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let task = move || {
            let session = retrieve(device, "s").unwrap();
            let contents = retrieve_contents(session, 1).unwrap();
            host::close(session).unwrap();
            contents
        };
        let (contents, rebooted) = race(task, reboot);
        assert_eq!((contents.as_str(), rebooted), ("a", Err(EBUSY)));
        assert_eq!(finishes(probe), [""; 0]);

        let session = retrieve(device, "s").unwrap();
        assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
        done_with(session);
        nothing_is_left(device);
    });
}

/// A file that is preserved again while the kexec is refused is not frozen.
#[test]
fn preserving_again_against_refused_serialization() {
    explore(Search::Every, || {
        let (probe, device) = two_files_waiting();
        let session = crate::world::create(device, "again").unwrap();
        let file = memfd::create(b"c").unwrap();
        let (preserved, rebooted) = race(move || preserve(session, file, 1), reboot);
        assert_eq!((preserved, rebooted), (Ok(()), Err(EBUSY)));
        assert_eq!(probe.calls(), ["preserve c"]);
    });
}
