// SPDX-License-Identifier: GPL-2.0-only

//! Two users of one FLB. Its object is there from the first to the last, and its calls are balanced.

use crate::world::{create, nothing_is_left, retrieve};
use kernel::{
    host::{self, memfd},
    liveupdate::{FileHandler, Flb, FlbOps},
    prelude::*,
};
use luo::host_api;
use luo_races::{Search, explore, race};
use luo_simulation::{
    ENODATA, ESHUTDOWN, boot, finish,
    image::Image,
    image::number,
    open_device, power_on, preserve, reboot,
    shared::{INCOMING, OUTGOING, Shared},
};

struct World {
    handler: FileHandler,
    shared: &'static Shared,
    flb: Flb,
    device: i32,
    sessions: [i32; 2],
    files: [i32; 2],
}

/// A machine whose handler depends on an FLB, with two sessions and two files to preserve.
fn power_on_with_flb() -> World {
    let handler = FileHandler::new(power_on());
    let shared = Shared::new("shared-v1");
    let flb = Flb::new(shared);
    host_api::register_flb(handler, flb).unwrap();
    let device = open_device().unwrap();
    World {
        handler,
        shared,
        flb,
        device,
        sessions: ["s", "t"].map(|it| create(device, it).unwrap()),
        files: [b"a", b"b"].map(|it| memfd::create(it).unwrap()),
    }
}

/// The next kernel, in which both sessions wait with a file each.
fn both_waiting() -> World {
    let mut world = power_on_with_flb();
    for (session, file) in world.sessions.into_iter().zip(world.files) {
        preserve(session, file, 1).unwrap();
    }
    reboot().unwrap();
    assert_eq!(handed_over(), Some(2));
    host::exit();
    host::kexec();
    boot(&[world.handler]);
    world.shared = Shared::new("shared-v1");
    world.flb = Flb::new(world.shared);
    host_api::register_flb(world.handler, world.flb).unwrap();
    world.device = open_device().unwrap();
    world.sessions = ["s", "t"].map(|it| retrieve(world.device, it).unwrap());
    world
}

/// How many files need the FLB, by what is handed over; `None` if it is not.
fn handed_over() -> Option<u64> {
    let image = Image::find();
    match number(image.flbs, 8) {
        0 => None,
        1 => Some(number(image.flbs, 16 + 56)),
        more => panic!("{more} FLBs"),
    }
}

#[test]
fn first_file_against_another() {
    explore(Search::Preemptions(3), || {
        let world = power_on_with_flb();
        let ([s, t], [a, b]) = (world.sessions, world.files);
        let both = race(move || preserve(s, a, 1), move || preserve(t, b, 1));
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(world.shared.calls(), ["preserve"]);
        assert_eq!(reboot(), Ok(()));
        assert_eq!(handed_over(), Some(2));
    });
}

#[test]
fn last_file_against_first() {
    explore(Search::Preemptions(3), || {
        let world = power_on_with_flb();
        let ([s, t], [a, b]) = (world.sessions, world.files);
        preserve(s, a, 1).unwrap();
        let both = race(move || host::close(s), move || preserve(t, b, 1));
        assert_eq!(both, (Ok(()), Ok(())));
        let calls = world.shared.calls();
        assert!(
            calls == ["preserve"] || calls == ["preserve", "unpreserve", "preserve"],
            "{calls:?}"
        );
        assert_eq!(world.shared.module().refs(), 1);
        assert_eq!(reboot(), Ok(()));
        assert_eq!(handed_over(), Some(1));
    });
}

#[test]
fn last_file_against_another() {
    explore(Search::Preemptions(3), || {
        let world = power_on_with_flb();
        let ([s, t], [a, b]) = (world.sessions, world.files);
        preserve(s, a, 1).unwrap();
        preserve(t, b, 1).unwrap();
        let both = race(move || host::close(s), move || host::close(t));
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(world.shared.calls(), ["preserve", "unpreserve"]);
        assert_eq!(world.shared.module().refs(), 0);
    });
}

/// Whoever has got the object has it until he gives it back.
#[test]
fn borrowing_against_the_last_file() {
    explore(Search::Every, || {
        let World {
            shared,
            flb,
            sessions: [s, _],
            files: [a, _],
            ..
        } = power_on_with_flb();
        preserve(s, a, 1).unwrap();
        shared.calls();
        let borrow = move || {
            let got = host_api::flb_get_outgoing(flb)?;
            assert_eq!(got, OUTGOING);
            assert_eq!(shared.calls(), [""; 0], "it is gone");
            host::point();
            assert_eq!(shared.calls(), [""; 0], "it is gone");
            host_api::flb_put_outgoing(flb)
        };
        let (borrowed, closed) = race(borrow, move || host::close(s));
        assert_eq!(closed, Ok(()));
        assert!(matches!(borrowed, Ok(()) | Err(ENOENT)), "{borrowed:?}");
        assert_eq!(shared.calls(), ["unpreserve"]);
        assert_eq!(shared.module().refs(), 0);
        assert!(!host::console().contains("given back"));
    });
}

#[test]
fn borrowing_against_the_first_file() {
    explore(Search::Every, || {
        let World {
            shared,
            flb,
            sessions: [s, _],
            files: [a, _],
            ..
        } = power_on_with_flb();
        let borrow = move || {
            let got = host_api::flb_get_outgoing(flb);
            got.map(|it| assert_eq!(it, OUTGOING))?;
            host_api::flb_put_outgoing(flb)
        };
        let (borrowed, preserved) = race(borrow, move || preserve(s, a, 1));
        assert_eq!(preserved, Ok(()));
        assert!(matches!(borrowed, Ok(()) | Err(ENOENT)), "{borrowed:?}");
        assert_eq!(shared.calls(), ["preserve"]);
        assert_eq!(reboot(), Ok(()));
        assert_eq!(handed_over(), Some(1));
    });
}

/// In C a reference that is held just then counts as a file.
#[test]
fn borrowing_against_serialization() {
    explore(Search::Every, || {
        let World {
            flb,
            sessions: [s, _],
            files: [a, _],
            ..
        } = power_on_with_flb();
        preserve(s, a, 1).unwrap();
        let borrow = move || {
            host_api::flb_get_outgoing(flb)?;
            host_api::flb_put_outgoing(flb)
        };
        assert_eq!(race(borrow, reboot), (Ok(()), Ok(())));
        assert_eq!(handed_over(), Some(1));
    });
}

#[test]
fn preservation_against_serialization() {
    explore(Search::Every, || {
        let World {
            shared,
            sessions: [s, t],
            files: [a, b],
            ..
        } = power_on_with_flb();
        preserve(s, a, 1).unwrap();
        let (preserved, rebooted) = race(move || preserve(t, b, 1), reboot);
        assert_eq!(rebooted, Ok(()));
        assert!(matches!(preserved, Ok(()) | Err(ESHUTDOWN)));
        assert_eq!(handed_over(), Some(1 + u64::from(preserved.is_ok())));
        assert_eq!(shared.calls(), ["preserve"]);
    });
}

#[test]
fn finish_against_another() {
    explore(Search::Preemptions(3), || {
        let World {
            shared,
            sessions: [s, t],
            device,
            ..
        } = both_waiting();
        let both = race(move || finish(s), move || finish(t));
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(shared.calls(), ["retrieve", "finish"]);
        assert_eq!(shared.module().refs(), 0);
        assert!(!host::console().contains("warning"));
        nothing_is_left(device);
    });
}

#[test]
fn borrowing_against_finish() {
    explore(Search::Preemptions(4), || {
        let World {
            shared,
            flb,
            sessions: [s, t],
            device,
            ..
        } = both_waiting();
        finish(s).unwrap();
        let borrow = move || {
            assert_eq!(host_api::flb_get_incoming(flb)?, INCOMING);
            host::point();
            assert_eq!(shared.calls(), ["retrieve"], "it is gone");
            host_api::flb_put_incoming(flb)
        };
        let (borrowed, finished) = race(borrow, move || finish(t));
        assert_eq!(finished, Ok(()));
        match borrowed {
            Ok(()) => assert_eq!(shared.calls(), ["finish"]),
            Err(err) => {
                assert_eq!(err, ENODATA);
                assert_eq!(shared.calls(), ["retrieve", "finish"]);
            }
        }
        assert_eq!(shared.module().refs(), 0);
        nothing_is_left(device);
    });
}

#[test]
fn borrowing_against_another() {
    explore(Search::Every, || {
        let World { shared, flb, .. } = both_waiting();
        let borrow = move || {
            let got = host_api::flb_get_incoming(flb);
            host_api::flb_put_incoming(flb).unwrap();
            got
        };
        assert_eq!(race(borrow, borrow), (Ok(INCOMING), Ok(INCOMING)));
        assert_eq!(shared.calls(), ["retrieve"]);
        assert!(!host::console().contains("given back"));
    });
}
