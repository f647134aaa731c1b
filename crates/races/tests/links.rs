// SPDX-License-Identifier: GPL-2.0-only

//! FLBs whose links come and go while others of the same handler are at work.

use crate::{
    module::Loaded,
    world::{create, nothing_is_left, retrieve},
};
use kernel::{
    host::{self, memfd},
    liveupdate::{FileHandler, Flb, FlbOps},
    prelude::*,
};
use luo::host_api;
use luo_races::{Search, explore, race};
use luo_simulation::{
    boot, finish, image::Image, image::number, open_device, power_on, preserve, preserve_new,
    probe::Probe, reboot, shared::Shared,
};

/// The file either uses the FLB, or does not know it; so it is handed over, too.
#[test]
fn link_against_preservation() {
    explore(Search::Every, || {
        let handler = FileHandler::new(power_on());
        let shared = Shared::new("shared-v1");
        let session = create(open_device().unwrap(), "s").unwrap();
        let file = memfd::create(b"a").unwrap();
        let both = race(
            move || host_api::register_flb(handler, Flb::new(shared)),
            move || preserve(session, file, 1),
        );
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(reboot(), Ok(()));
        let uses = shared.calls() == ["preserve"];
        assert_eq!(number(Image::find().flbs, 8), u64::from(uses));
        assert_eq!(shared.module().refs(), usize::from(uses));
    });
}

/// The registry told a file its FLBs without holding their modules, so that one could be gone when
/// the file came to preserve it.
#[test]
fn unloading_against_preservation() {
    explore(Search::Every, || {
        let handler = FileHandler::new(power_on());
        let shared = Shared::new("shared-v1");
        let module = Loaded::new(shared);
        host_api::register_flb(handler, Flb::new(module)).unwrap();
        let session = create(open_device().unwrap(), "s").unwrap();
        let file = memfd::create(b"a").unwrap();
        let (gone, preserved) = race(
            move || module.unload_flb(handler),
            move || preserve(session, file, 1),
        );
        match (gone, preserved) {
            // Before the link went, and after.
            (true, Err(ENODEV) | Ok(())) => assert_eq!(shared.calls(), [""; 0]),
            (false, Ok(())) => assert_eq!(shared.calls(), ["preserve"]),
            both => panic!("{both:?}"),
        }
        host::close(session).unwrap();
        assert_eq!(shared.module().refs(), 0);
    });
}

/// Two FLBs of one handler, in the kernel in which the sessions "s" and "t" wait with a file each.
fn two_flbs_waiting() -> (FileHandler, [&'static Shared; 2]) {
    let handler = FileHandler::new(power_on());
    let flbs = || ["first-v1", "second-v1"].map(Shared::new);
    for flb in flbs() {
        host_api::register_flb(handler, Flb::new(flb)).unwrap();
    }
    for session in ["s", "t"] {
        preserve_new(luo_simulation::create(session).unwrap(), session, 1).unwrap();
    }
    reboot().unwrap();
    host::exit();
    host::kexec();
    boot(&[handler]);
    (handler, flbs())
}

#[test]
fn unloading_against_finish() {
    explore(Search::Every, || {
        let (handler, [shared, _]) = two_flbs_waiting();
        let module = Loaded::new(shared);
        host_api::register_flb(handler, Flb::new(module)).unwrap();
        let device = open_device().unwrap();
        finish(retrieve(device, "s").unwrap()).unwrap();
        let session = retrieve(device, "t").unwrap();
        let (gone, finished) = race(move || module.unload_flb(handler), move || finish(session));
        assert_eq!(finished, Ok(()));
        let calls = shared.calls();
        let unseen = gone && calls.is_empty();
        assert!(unseen || calls == ["retrieve", "finish"], "{calls:?}");
        assert_eq!(shared.module().refs(), 0);
        nothing_is_left(device);
    });
}

/// FLBs were counted by their place in the list: when one before it went, the other was counted
/// twice for one file, and finished while another file needed it.
#[test]
fn unlink_against_finish() {
    explore(Search::Every, || {
        let (handler, flbs) = two_flbs_waiting();
        let [first, second] = flbs.map(|it| Flb::new(it));
        for flb in [first, second] {
            host_api::register_flb(handler, flb).unwrap();
        }
        let device = open_device().unwrap();
        let [s, t] = ["s", "t"].map(|it| retrieve(device, it).unwrap());
        let both = race(
            move || host_api::unregister_flb(handler, first),
            move || finish(s),
        );
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(flbs[1].calls(), [""; 0], "the other session needs it");
        finish(t).unwrap();
        assert_eq!(flbs[1].calls(), ["retrieve", "finish"]);
        nothing_is_left(device);
    });
}

/// For the same reason one that was needed could be left out of the hand-over.
#[test]
fn unlink_against_serialization() {
    explore(Search::Every, || {
        let handler = FileHandler::new(power_on());
        let idle = FileHandler::new(Probe::new("idle-v1"));
        host_api::register_file_handler(idle).unwrap();
        let [unused, used] = ["unused-v1", "used-v1"].map(|it| Flb::new(Shared::new(it)));
        host_api::register_flb(idle, unused).unwrap();
        host_api::register_flb(handler, used).unwrap();
        preserve_new(luo_simulation::create("s").unwrap(), "a", 1).unwrap();
        let both = race(move || host_api::unregister_flb(idle, unused), reboot);
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(number(Image::find().flbs, 8), 1);
    });
}
