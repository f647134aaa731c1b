// SPDX-License-Identifier: GPL-2.0-only

//! Handlers that come and go against files that need them: nobody calls what is gone, and who got
//! hold of it keeps it.

use crate::{
    module::Loaded,
    world::{Stands, all, create, done_with, follow, nothing_is_left, retrieve},
};
use kernel::{
    host::{self, memfd},
    liveupdate::{FileHandler, FileOps},
    prelude::*,
};
use luo::host_api;
use luo_races::{Search, explore, race};
use luo_simulation::{
    boot, open_device, power_on, power_on_with, preserve, preserve_new, probe::Probe, reboot,
};

#[test]
fn registration_against_preservation() {
    explore(Search::Every, || {
        power_on_with(&[]);
        let probe = Probe::new("late-v1");
        let session = create(open_device().unwrap(), "s").unwrap();
        let file = memfd::create(b"a").unwrap();
        let (registered, preserved) = race(
            || host_api::register_file_handler(FileHandler::new(probe)),
            move || preserve(session, file, 1),
        );
        assert_eq!(registered, Ok(()));
        if preserved != Ok(()) {
            assert_eq!(preserved, Err(ENOENT));
            assert_eq!(preserve(session, file, 1), Ok(()));
        }
        assert_eq!(follow(probe, &[]), all(["a"], Stands::Preserved));
    });
}

#[test]
fn registration_against_another_of_the_same_name() {
    explore(Search::Every, || {
        power_on_with(&[]);
        let register = || host_api::register_file_handler(FileHandler::new(Probe::new("same-v1")));
        let both = race(register, register);
        assert!(
            both == (Ok(()), Err(EEXIST)) || both == (Err(EEXIST), Ok(())),
            "{both:?}"
        );
    });
}

/// In C a handler can be unregistered, and its module freed, while a file is being preserved.
#[test]
fn unloading_against_preservation() {
    explore(Search::Every, || {
        let probe = Probe::new("module-v1");
        let module = Loaded::new(probe);
        power_on_with(&[FileHandler::new(module)]);
        let session = create(open_device().unwrap(), "s").unwrap();
        let file = memfd::create(b"a").unwrap();
        let (gone, preserved) = race(
            || module.unload_handler(),
            move || preserve(session, file, 1),
        );
        match (gone, preserved) {
            (true, Err(ENOENT)) => assert_eq!(probe.calls(), [""; 0]),
            (false, Ok(())) => assert_eq!(probe.module().refs(), 1),
            both => panic!("{both:?}"),
        }
        host::close(session).unwrap();
        assert_eq!(probe.module().refs(), 0);
    });
}

#[test]
fn unloading_against_close() {
    explore(Search::Every, || {
        let probe = Probe::new("module-v1");
        let module = Loaded::new(probe);
        power_on_with(&[FileHandler::new(module)]);
        let session = create(open_device().unwrap(), "s").unwrap();
        preserve_new(session, "a", 1).unwrap();
        race(
            || module.unload_handler(),
            move || host::close(session).unwrap(),
        );
        assert_eq!(follow(probe, &[]), all([], Stands::Preserved));
        assert_eq!(probe.module().refs(), 0);
    });
}

#[test]
fn unloading_against_retrieve_session() {
    explore(Search::Every, || {
        let probe = Probe::new("module-v1");
        power_on_with(&[FileHandler::new(probe)]);
        preserve_new(luo_simulation::create("s").unwrap(), "a", 1).unwrap();
        reboot().unwrap();
        host::exit();
        host::kexec();
        let module = Loaded::new(Probe::new("module-v1"));
        boot(&[FileHandler::new(module)]);
        let device = open_device().unwrap();
        match race(|| module.unload_handler(), move || retrieve(device, "s")) {
            (true, Err(EIO)) => {
                // With the handler the session comes back.
                host_api::register_file_handler(FileHandler::new(probe)).unwrap();
                done_with(retrieve(device, "s").unwrap());
            }
            (false, Ok(session)) => done_with(session),
            both => panic!("{both:?}"),
        }
        nothing_is_left(device);
    });
}

/// A file is in LUO's hands once, whoever preserves it.
#[test]
fn preservation_against_another_of_the_same_file() {
    explore(Search::Every, || {
        let probe = power_on();
        let device = open_device().unwrap();
        let [s, t] = ["s", "t"].map(|it| create(device, it).unwrap());
        let file = memfd::create(b"a").unwrap();
        let both = race(move || preserve(s, file, 1), move || preserve(t, file, 1));
        assert!(
            both == (Ok(()), Err(EBUSY)) || both == (Err(EBUSY), Ok(())),
            "{both:?}"
        );
        assert_eq!(follow(probe, &[]), all(["a"], Stands::Preserved));
    });
}
