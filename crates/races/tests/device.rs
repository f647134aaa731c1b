// SPDX-License-Identifier: GPL-2.0-only

//! The device, which one at a time has open, and whose first opening reads the sessions of the
//! previous kernel.

use crate::{
    incoming::two_files_waiting,
    world::{done_with, nothing_is_left, retrieve},
};
use kernel::{host, prelude::*};
use luo_races::{Search, explore, race};
use luo_simulation::{boot, open_device, power_on, preserve_new, reboot, retrieve_contents};

/// A kernel in which the session "s" waits, with "a" under 1, and the device was never opened.
fn unread() {
    let probe = power_on();
    preserve_new(luo_simulation::create("s").unwrap(), "a", 1).unwrap();
    reboot().unwrap();
    host::exit();
    host::kexec();
    boot(&[kernel::liveupdate::FileHandler::new(probe)]);
}

fn session_is_whole(device: i32) {
    let session = retrieve(device, "s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "a");
    done_with(session);
    nothing_is_left(device);
}

#[test]
fn first_open_against_another() {
    explore(Search::Every, || {
        unread();
        match race(open_device, open_device) {
            (Ok(device), Err(EBUSY)) | (Err(EBUSY), Ok(device)) => {
                assert_eq!(open_device(), Err(EBUSY));
                session_is_whole(device);
            }
            both => panic!("{both:?}"),
        }
    });
}

#[test]
fn first_open_and_close_against_another() {
    explore(Search::Every, || {
        unread();
        let task = || open_device().map(|device| host::close(device).unwrap());
        let both = race(task, task);
        assert!(
            matches!(both, (Ok(()), Ok(()) | Err(EBUSY)) | (Err(EBUSY), Ok(()))),
            "{both:?}"
        );
        session_is_whole(open_device().unwrap());
    });
}

/// Both read the sessions, if nobody has: the one to offer them, the other to see whether there are
/// any.
#[test]
fn first_open_against_serialization() {
    explore(Search::Every, || {
        unread();
        let (device, rebooted) = race(open_device, reboot);
        assert_eq!(rebooted, Err(EBUSY));
        session_is_whole(device.unwrap());
    });
}

#[test]
fn open_against_close() {
    explore(Search::Every, || {
        let (_, device) = two_files_waiting();
        let (closed, opened) = race(move || host::close(device), open_device);
        assert_eq!(closed, Ok(()));
        assert!(matches!(opened, Ok(_) | Err(EBUSY)), "{opened:?}");
        assert_eq!(open_device().err(), opened.ok().map(|_| EBUSY));
    });
}
