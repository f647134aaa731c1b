// SPDX-License-Identifier: GPL-2.0-only

//! State that several files share: preserved with the first, finished with the last.

use kernel::{
    host,
    liveupdate::{FileHandler, Flb, FlbOps},
    prelude::*,
};
use luo::host_api;
use luo_simulation::{
    boot, create, finish,
    image::number,
    image::Image,
    power_on, preserve_new,
    probe::Probe,
    reboot, retrieve, retrieve_fd,
    shared::{Shared, INCOMING, OUTGOING},
    ENODATA,
};

struct World {
    probe: &'static Probe,
    shared: &'static Shared,
    flb: Flb,
}

impl World {
    /// A machine whose handler depends on an FLB.
    fn power_on() -> Self {
        let probe = power_on();
        let shared = Shared::new("shared-v1");
        let flb = Flb::new(shared);
        host_api::register_flb(FileHandler::new(probe), flb).unwrap();
        Self { probe, shared, flb }
    }

    fn kexec(&self) {
        reboot().unwrap();
        host::kexec();
        boot(&[FileHandler::new(self.probe)]);
        host_api::register_flb(FileHandler::new(self.probe), self.flb).unwrap();
        self.shared.calls();
    }

    /// A kernel in which a session "s" waits, with two files.
    fn two_files_waiting() -> Self {
        let world = Self::power_on();
        let session = create("s").unwrap();
        preserve_new(session, "a", 1).unwrap();
        preserve_new(session, "b", 2).unwrap();
        world.kexec();
        world
    }
}

#[test]
fn the_incoming_life_is_shown() {
    let world = World::two_files_waiting();
    let shown = || host_api::show_incoming().unwrap();
    assert!(shown().contains("\nflb 'shared-v1': 2 files, waiting\n"));
    host_api::flb_get_incoming(world.flb).unwrap();
    assert!(shown().contains("\nflb 'shared-v1': 2 files, retrieved\n"));
    finish(retrieve("s").unwrap()).unwrap();
    assert!(shown().contains("\nflb 'shared-v1': 0 files, retrieved\n"));
    host_api::flb_put_incoming(world.flb).unwrap();
    assert!(shown().contains("\nflb 'shared-v1': 0 files, finished\n"));
    assert!(!shown().contains("session"));
}

/// The count of the only FLB that is handed over.
fn handed_over_count() -> u64 {
    let image = Image::find();
    assert_eq!(number(image.flbs, 8), 1);
    number(image.flbs, 16 + 56)
}

#[test]
fn it_is_preserved_with_the_first_file_and_unpreserved_with_the_last() {
    let World { shared, .. } = World::power_on();
    let sessions = ["1", "2"].map(|name| create(name).unwrap());
    preserve_new(sessions[0], "a", 1).unwrap();
    preserve_new(sessions[0], "b", 2).unwrap();
    preserve_new(sessions[1], "c", 1).unwrap();
    assert_eq!(shared.calls(), ["preserve"]);
    host::close(sessions[0]).unwrap();
    assert_eq!(shared.calls(), [""; 0]);
    host::close(sessions[1]).unwrap();
    assert_eq!(shared.calls(), ["unpreserve"]);
    assert_eq!(shared.module().refs(), 0);
}

/// In C the serialized count is a reference count, in which whoever holds the object for a moment
/// at the time of the reboot counts as one more file: the next kernel waits for it for ever.
#[test]
fn the_count_that_is_handed_over_is_that_of_the_files() {
    let world = World::power_on();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    preserve_new(session, "b", 2).unwrap();
    for _ in 0..3 {
        assert_eq!(host_api::flb_get_outgoing(world.flb), Ok(OUTGOING));
    }
    reboot().unwrap();
    assert_eq!(handed_over_count(), 2);
}

#[test]
fn one_that_only_a_reference_keeps_is_not_handed_over() {
    let world = World::power_on();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    host_api::flb_get_outgoing(world.flb).unwrap();
    host::close(session).unwrap();
    assert_eq!(world.shared.calls(), ["preserve"]);
    create("t").unwrap();
    reboot().unwrap();
    assert_eq!(number(Image::find().flbs, 8), 0);
}

#[test]
fn a_reference_keeps_the_object_until_it_is_given_back() {
    let world = World::power_on();
    assert_eq!(host_api::flb_get_outgoing(world.flb), Err(ENOENT));
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    host_api::flb_get_outgoing(world.flb).unwrap();
    host::close(session).unwrap();
    assert_eq!(world.shared.calls(), ["preserve"]);
    host_api::flb_put_outgoing(world.flb).unwrap();
    assert_eq!(world.shared.calls(), ["unpreserve"]);
    host_api::flb_put_outgoing(world.flb).unwrap();
    assert!(host::console().contains("given back more often than borrowed"));
}

/// The links went with the handler's module, which nothing held any more, and took the object with them: it was neither given up
/// nor given back.
#[test]
fn a_reference_keeps_the_object_although_no_handler_is_linked_any_more() {
    let World { probe, shared, flb } = World::power_on();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    host_api::flb_get_outgoing(flb).unwrap();
    host::close(session).unwrap();
    shared.calls();
    host_api::unregister_file_handler(FileHandler::new(probe)).unwrap();
    assert_eq!(host_api::flb_get_outgoing(flb), Ok(OUTGOING));
    host_api::flb_put_outgoing(flb).unwrap();
    host_api::flb_put_outgoing(flb).unwrap();
    assert_eq!(shared.calls(), ["unpreserve"]);
    assert_eq!(shared.module().refs(), 0);

    // The FLB's own module goes, too: its name is free.
    let handler = FileHandler::new(probe);
    assert_eq!(host_api::unregister_flb(handler, flb), Err(ENOENT));
    host_api::register_file_handler(handler).unwrap();
    let namesake = Flb::new(Shared::new("shared-v1"));
    assert_eq!(host_api::register_flb(handler, namesake), Ok(()));
}

/// In C the incoming count is set when somebody first asks for the object. If nobody did, the first
/// finished file makes it underflow.
#[test]
fn one_that_nobody_asked_for_is_finished_with_the_last_file() {
    let world = World::two_files_waiting();
    finish(retrieve("s").unwrap()).unwrap();
    assert_eq!(world.shared.calls(), ["retrieve", "finish"]);
    assert_eq!(host_api::flb_get_incoming(world.flb), Err(ENODATA));
    assert!(!host::console().contains("warning"));
}

#[test]
fn asking_and_giving_back_does_not_count_as_a_file() {
    let world = World::two_files_waiting();
    for _ in 0..5 {
        assert_eq!(host_api::flb_get_incoming(world.flb), Ok(INCOMING));
        host_api::flb_put_incoming(world.flb).unwrap();
    }
    assert_eq!(world.shared.calls(), ["retrieve"]);
    finish(retrieve("s").unwrap()).unwrap();
    assert_eq!(world.shared.calls(), ["finish"]);
}

#[test]
fn the_last_user_finishes_it_be_it_a_file_or_a_reference() {
    let world = World::two_files_waiting();
    host_api::flb_get_incoming(world.flb).unwrap();
    finish(retrieve("s").unwrap()).unwrap();
    assert_eq!(world.shared.calls(), ["retrieve"]);
    host_api::flb_put_incoming(world.flb).unwrap();
    assert_eq!(world.shared.calls(), ["finish"]);
    host_api::flb_put_incoming(world.flb).unwrap();
    assert!(host::console().contains("given back more often than borrowed"));
}

#[test]
fn files_of_several_sessions_count_together() {
    let world = World::power_on();
    for name in ["1", "2"] {
        preserve_new(create(name).unwrap(), name, 1).unwrap();
    }
    world.kexec();
    finish(retrieve("1").unwrap()).unwrap();
    assert_eq!(world.shared.calls(), [""; 0]);
    let session = retrieve("2").unwrap();
    retrieve_fd(session, 1).unwrap();
    host::close(session).unwrap();
    assert_eq!(world.shared.calls(), ["retrieve", "finish"]);
}

#[test]
fn without_a_live_update_and_without_the_flb_there_are_different_errnos() {
    let world = World::power_on();
    assert_eq!(host_api::flb_get_incoming(world.flb), Err(ENODATA));
    create("s").unwrap();
    world.kexec();
    assert_eq!(host_api::flb_get_incoming(world.flb), Err(ENOENT));
}

#[test]
fn one_that_cannot_be_preserved_refuses_the_file() {
    let world = World::power_on();
    let other = Shared::new("other-v1");
    other.refuse("preserve", EIO);
    host_api::register_flb(FileHandler::new(world.probe), Flb::new(other)).unwrap();
    let session = create("s").unwrap();
    let pages = host::pages_in_use();
    assert_eq!(preserve_new(session, "a", 1), Err(EIO));
    assert_eq!(world.probe.calls(), [""; 0], "FLBs come first");
    assert_eq!(world.shared.calls(), ["preserve", "unpreserve"]);
    assert_eq!(host::pages_in_use(), pages);
}

#[test]
fn a_file_that_cannot_be_preserved_is_no_user() {
    let world = World::power_on();
    world.probe.refuse("preserve a", EIO);
    assert_eq!(preserve_new(create("s").unwrap(), "a", 1), Err(EIO));
    assert_eq!(world.shared.calls(), ["preserve", "unpreserve"]);
}

#[test]
fn one_that_cannot_be_retrieved_says_so_for_good_and_is_not_finished() {
    let world = World::two_files_waiting();
    world.shared.refuse("retrieve", EIO);
    assert_eq!(host_api::flb_get_incoming(world.flb), Err(EIO));
    assert_eq!(host_api::flb_get_incoming(world.flb), Err(EIO));
    finish(retrieve("s").unwrap()).unwrap();
    assert_eq!(world.shared.calls(), ["retrieve"]);
    assert!(host::console().contains("cannot be finished and stays preserved"));
}

#[test]
fn links_are_made_once_and_to_registered_handlers() {
    let world = World::power_on();
    let handler = FileHandler::new(world.probe);
    assert_eq!(host_api::register_flb(handler, world.flb), Err(EEXIST));
    let namesake = Flb::new(Shared::new("shared-v1"));
    assert_eq!(host_api::register_flb(handler, namesake), Err(EEXIST));
    let stranger = FileHandler::new(Probe::new("stranger-v1"));
    assert_eq!(host_api::register_flb(stranger, world.flb), Err(EINVAL));
    assert_eq!(host_api::unregister_flb(handler, namesake), Err(ENOENT));
    assert_eq!(host_api::unregister_flb(handler, world.flb), Ok(()));
    assert_eq!(host_api::unregister_flb(handler, world.flb), Err(ENOENT));
    assert_eq!(host_api::register_flb(handler, namesake), Ok(()));
}

#[test]
fn there_are_as_many_as_the_format_can_carry() {
    let World { probe, .. } = World::power_on();
    let register = |number: usize| {
        let name = Box::leak(format!("flb-{number}").into_boxed_str());
        host_api::register_flb(FileHandler::new(probe), Flb::new(Shared::new(name)))
    };
    for number in 1..63 {
        register(number).unwrap();
    }
    assert_eq!(register(63), Err(ENOSPC));
    preserve_new(create("s").unwrap(), "a", 1).unwrap();
    reboot().unwrap();
    assert_eq!(number(Image::find().flbs, 8), 63);
}
