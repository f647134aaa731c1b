// SPDX-License-Identifier: GPL-2.0-only

//! Handlers come and go with their modules.

use kernel::{
    host,
    liveupdate::{FileHandler, FileOps},
    prelude::*,
};
use luo::host_api;
use luo_simulation::{create, kexec, power_on, preserve_new, probe::Probe, retrieve};

#[test]
fn a_compatibility_string_has_one_handler() {
    power_on();
    let double = FileHandler::new(Probe::new("probe-v1"));
    assert_eq!(host_api::register_file_handler(double), Err(EEXIST));
    let other = FileHandler::new(Probe::new("probe-v2"));
    assert_eq!(host_api::register_file_handler(other), Ok(()));
}

#[test]
fn a_module_is_held_exactly_while_a_file_needs_it() {
    let probe = power_on();
    let refs = || probe.module().refs();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    assert_eq!(refs(), 1);
    probe.refuse("preserve b", EIO);
    preserve_new(session, "b", 2).unwrap_err();
    assert_eq!(refs(), 1);
    host::close(session).unwrap();
    assert_eq!(refs(), 0);
}

#[test]
fn an_incoming_session_holds_the_modules_of_its_files_once_it_is_read() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "a", 1).unwrap();
    kexec(probe);
    // The reference of the kernel that is gone is gone with it, but this test's handler is not new.
    let before = probe.module().refs();
    let session = retrieve("s").unwrap();
    assert_eq!(probe.module().refs(), before + 1);
    luo_simulation::finish(session).unwrap();
    assert_eq!(probe.module().refs(), before);
}

#[test]
fn a_handler_that_is_being_unloaded_takes_no_files() {
    let probe = power_on();
    let session = create("s").unwrap();
    probe.module().begin_unload();
    assert_eq!(preserve_new(session, "a", 1), Err(ENOENT));
    assert_eq!(probe.calls(), [""; 0]);
}

#[test]
fn files_outlive_the_registration_of_their_handler() {
    let probe = power_on();
    let session = create("s").unwrap();
    preserve_new(session, "a", 1).unwrap();
    host_api::unregister_file_handler(FileHandler::new(probe)).unwrap();
    assert_eq!(preserve_new(session, "b", 2), Err(ENOENT));
    host::close(session).unwrap();
    assert_eq!(probe.calls(), ["preserve a", "unpreserve a"]);
    assert_eq!(probe.module().refs(), 0);
}
