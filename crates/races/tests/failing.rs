// SPDX-License-Identifier: GPL-2.0-only

//! A hand-over that fails, because a file refuses to be frozen, against changes: they wait, and go
//! on as if nothing had been tried.

use crate::world::{Stands, all, create, done_with, follow, kexec, nothing_is_left, retrieve};
use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_races::{Search, explore, race};
use luo_simulation::{open_device, power_on, preserve, probe::Probe, reboot, retrieve_contents};

/// A machine with a session "s": the file "a", which can be frozen, and "b", which cannot.
fn refusing() -> (&'static Probe, i32, i32) {
    let probe = power_on();
    probe.refuse("freeze b", EIO);
    let device = open_device().unwrap();
    let session = create(device, "s").unwrap();
    for (token, contents) in [(1, b"a"), (2, b"b")] {
        preserve(session, memfd::create(contents).unwrap(), token).unwrap();
    }
    (probe, device, session)
}

#[test]
fn failed_freeze_against_preservation() {
    explore(Search::Every, || {
        let (probe, _, session) = refusing();
        let file = memfd::create(b"c").unwrap();
        let (preserved, rebooted) = race(move || preserve(session, file, 3), reboot);
        assert_eq!((preserved, rebooted), (Ok(()), Err(EIO)));
        let calls = follow(probe, &["freeze b"]);
        assert_eq!(calls, all(["a", "b", "c"], Stands::Preserved));

        probe.relent();
        let device = kexec(probe);
        let session = retrieve(device, "s").unwrap();
        for (token, contents) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(retrieve_contents(session, token).unwrap(), contents);
        }
        done_with(session);
        nothing_is_left(device);
    });
}

#[test]
fn failed_freeze_against_creation() {
    explore(Search::Every, || {
        let (probe, device, _) = refusing();
        let (created, rebooted) = race(move || create(device, "t"), reboot);
        assert!(
            created.is_ok() && rebooted == Err(EIO),
            "{created:?} {rebooted:?}"
        );
        assert_eq!(
            follow(probe, &["freeze b"]),
            all(["a", "b"], Stands::Preserved)
        );

        probe.relent();
        let device = kexec(probe);
        for name in ["s", "t"] {
            done_with(retrieve(device, name).unwrap());
        }
        nothing_is_left(device);
    });
}

#[test]
fn failed_freeze_against_close() {
    explore(Search::Every, || {
        let (probe, _, session) = refusing();
        let (closed, rebooted) = race(move || host::close(session), reboot);
        assert_eq!(closed, Ok(()));
        assert_eq!(follow(probe, &["freeze b"]), all([], Stands::Preserved));
        // Without the session there is nothing to refuse.
        if rebooted != Ok(()) {
            assert_eq!(rebooted, Err(EIO));
            assert_eq!(reboot(), Ok(()));
        }
        let device = crate::world::jump(probe);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        nothing_is_left(device);
    });
}

/// Both fail, and everything is unfrozen as often as it was frozen.
#[test]
fn failed_freeze_against_another() {
    explore(Search::Every, || {
        let (probe, _, _) = refusing();
        assert_eq!(race(reboot, reboot), (Err(EIO), Err(EIO)));
        assert_eq!(
            follow(probe, &["freeze b"]),
            all(["a", "b"], Stands::Preserved)
        );

        probe.relent();
        let device = kexec(probe);
        let session = retrieve(device, "s").unwrap();
        assert_eq!(retrieve_contents(session, 2).unwrap(), "b");
        done_with(session);
        nothing_is_left(device);
    });
}
