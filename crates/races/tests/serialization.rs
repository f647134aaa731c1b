// SPDX-License-Identifier: GPL-2.0-only

//! Changes against serialization. What succeeded is there in the next kernel, what was refused is
//! not, and nothing is there in part.

use crate::world::{Stands, all, create, done_with, follow, jump, nothing_is_left, retrieve};
use kernel::{host::memfd, prelude::*};
use luo_races::{Search, explore, race};
use luo_simulation::{
    ESHUTDOWN, open_device, power_on, preserve, reboot, retrieve_contents, retrieve_fd,
};

#[test]
fn creation_against_serialization() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        create(device, "old").unwrap();
        let (created, rebooted) = race(move || create(device, "new"), reboot);
        assert_eq!(rebooted, Ok(()));

        let device = jump(probe);
        done_with(retrieve(device, "old").unwrap());
        match created {
            Ok(_) => done_with(retrieve(device, "new").unwrap()),
            Err(err) => {
                assert_eq!(err, ESHUTDOWN);
                assert_eq!(retrieve(device, "new"), Err(ENOENT));
            }
        }
        nothing_is_left(device);
    });
}

#[test]
fn preservation_against_serialization() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let session = create(device, "s").unwrap();
        let [a, b] = [b"a", b"b"].map(|it| memfd::create(it).unwrap());
        preserve(session, a, 1).unwrap();
        let (preserved, rebooted) = race(move || preserve(session, b, 2), reboot);
        assert_eq!(rebooted, Ok(()));

        let calls = follow(probe, &[]);
        let device = jump(probe);
        let session = retrieve(device, "s").unwrap();
        assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
        match preserved {
            Ok(()) => {
                assert_eq!(calls, all(["a", "b"], Stands::Frozen));
                assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
            }
            Err(err) => {
                assert_eq!(err, ESHUTDOWN);
                assert_eq!(calls, all(["a"], Stands::Frozen));
                assert_eq!(retrieve_fd(session, 2), Err(ENOENT));
            }
        }
        done_with(session);
        nothing_is_left(device);
    });
}

/// A task that makes a session and fills it is overtaken at any point.
#[test]
fn creation_and_preservation_against_serialization() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let file = memfd::create(b"a").unwrap();
        let task = move || create(device, "s").map(|session| preserve(session, file, 1));
        let (done, rebooted) = race(task, reboot);
        assert_eq!(rebooted, Ok(()));

        let calls = follow(probe, &[]);
        let device = jump(probe);
        match done {
            Ok(preserved) => {
                let session = retrieve(device, "s").unwrap();
                match preserved {
                    Ok(()) => {
                        assert_eq!(calls, all(["a"], Stands::Frozen));
                        assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
                    }
                    Err(err) => {
                        assert_eq!(err, ESHUTDOWN);
                        assert_eq!(retrieve_fd(session, 1), Err(ENOENT));
                    }
                }
                done_with(session);
            }
            Err(err) => {
                assert_eq!(err, ESHUTDOWN);
                assert_eq!(retrieve(device, "s"), Err(ENOENT));
            }
        }
        nothing_is_left(device);
    });
}

#[test]
fn a_reboot_against_another() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let session = create(device, "s").unwrap();
        preserve(session, memfd::create(b"a").unwrap(), 1).unwrap();
        let results = race(reboot, reboot);
        assert!(
            results == (Ok(()), Err(ESHUTDOWN)) || results == (Err(ESHUTDOWN), Ok(())),
            "{results:?}"
        );

        assert_eq!(follow(probe, &[]), all(["a"], Stands::Frozen));
        let device = jump(probe);
        let session = retrieve(device, "s").unwrap();
        assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
        done_with(session);
        nothing_is_left(device);
    });
}
