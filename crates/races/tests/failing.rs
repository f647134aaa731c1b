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

/// A machine with the sessions "s", with the file "a", and "t", with "b" and "c", of which the last
/// cannot be frozen: the hand-over fails with a session behind it, and in the middle of another.
fn refusing() -> (&'static Probe, i32, i32) {
    let probe = power_on();
    probe.refuse("freeze c", EIO);
    let device = open_device().unwrap();
    let [s, t] = ["s", "t"].map(|it| create(device, it).unwrap());
    for (session, token, contents) in [(s, 1, b"a"), (t, 1, b"b"), (t, 2, b"c")] {
        preserve(session, memfd::create(contents).unwrap(), token).unwrap();
    }
    (probe, device, s)
}

#[test]
fn failed_freeze_against_preservation() {
    explore(Search::Every, || {
        let (probe, _, session) = refusing();
        let file = memfd::create(b"d").unwrap();
        let (preserved, rebooted) = race(move || preserve(session, file, 2), reboot);
        assert_eq!((preserved, rebooted), (Ok(()), Err(EIO)));
        let calls = follow(probe, &["freeze c"]);
        assert_eq!(calls, all(["a", "b", "c", "d"], Stands::Preserved));

        probe.relent();
        let device = kexec(probe);
        let session = retrieve(device, "s").unwrap();
        for (token, contents) in [(1, "a"), (2, "d")] {
            assert_eq!(retrieve_contents(session, token).unwrap(), contents);
        }
        done_with(session);
        done_with(retrieve(device, "t").unwrap());
        nothing_is_left(device);
    });
}

#[test]
fn failed_freeze_against_creation() {
    explore(Search::Every, || {
        let (probe, device, _) = refusing();
        let (created, rebooted) = race(move || create(device, "new"), reboot);
        assert!(
            created.is_ok() && rebooted == Err(EIO),
            "{created:?} {rebooted:?}"
        );
        assert_eq!(
            follow(probe, &["freeze c"]),
            all(["a", "b", "c"], Stands::Preserved)
        );

        probe.relent();
        let device = kexec(probe);
        for name in ["s", "t", "new"] {
            done_with(retrieve(device, name).unwrap());
        }
        nothing_is_left(device);
    });
}

#[test]
fn failed_freeze_against_close() {
    explore(Search::Every, || {
        let (probe, _, session) = refusing();
        let both = race(move || host::close(session), reboot);
        assert_eq!(both, (Ok(()), Err(EIO)));
        let calls = follow(probe, &["freeze c"]);
        assert_eq!(calls, all(["b", "c"], Stands::Preserved));

        probe.relent();
        let device = kexec(probe);
        assert_eq!(retrieve(device, "s"), Err(ENOENT));
        done_with(retrieve(device, "t").unwrap());
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
            follow(probe, &["freeze c"]),
            all(["a", "b", "c"], Stands::Preserved)
        );

        probe.relent();
        let device = kexec(probe);
        done_with(retrieve(device, "s").unwrap());
        let session = retrieve(device, "t").unwrap();
        assert_eq!(retrieve_contents(session, 2).unwrap(), "c");
        done_with(session);
        nothing_is_left(device);
    });
}
