// SPDX-License-Identifier: GPL-2.0-only

//! What is wrong with one session does not concern the others.

use kernel::{host, liveupdate::FileHandler, prelude::*};
use luo::host_api;
use luo_simulation::{
    create, finish, is_available, kexec_with, power_on, preserve_new, probe::Probe, reboot,
    retrieve, retrieve_contents,
};

/// The sessions "old" and "mixed" have a file of a handler that the next kernel does not have at
/// first, "good" has not. Gives that handler.
fn handler_gone() -> FileHandler {
    let gone = Probe::new("gone-v1");
    let probe = power_on();
    let (gone, kept) = (FileHandler::new(gone), FileHandler::new(probe));
    let good = create("good").unwrap();
    preserve_new(good, "g", 1).unwrap();
    let mixed = create("mixed").unwrap();
    preserve_new(mixed, "m", 1).unwrap();
    host_api::unregister_file_handler(kept).unwrap();
    host_api::register_file_handler(gone).unwrap();
    preserve_new(mixed, "lost", 2).unwrap();
    preserve_new(create("old").unwrap(), "o", 1).unwrap();
    kexec_with(&[kept]);
    gone
}

/// In C, one file whose handler the next kernel lacks makes opening the device fail: all sessions
/// are unavailable.
#[test]
fn a_file_without_a_handler_makes_only_its_session_unavailable() {
    handler_gone();
    assert_eq!(retrieve("mixed"), Err(EIO));
    assert_eq!(retrieve("old"), Err(EIO));
    assert!(host::console().contains("token 0x2: no handler 'gone-v1'"));
    let good = retrieve("good").unwrap();
    assert_eq!(retrieve_contents(good, 1).unwrap(), "g");
    finish(good).unwrap();
}

#[test]
fn a_handler_that_registers_late_makes_its_sessions_available() {
    let gone = handler_gone();
    assert_eq!(retrieve("mixed"), Err(EIO));
    host_api::register_file_handler(gone).unwrap();
    let mixed = retrieve("mixed").unwrap();
    assert_eq!(retrieve_contents(mixed, 1).unwrap(), "m");
    assert_eq!(retrieve_contents(mixed, 2).unwrap(), "lost");
    assert!(is_available("old"));
}

#[test]
fn a_session_without_its_handler_is_not_lost_to_a_second_kexec() {
    let gone = handler_gone();
    let good = retrieve("good").unwrap();
    finish(good).unwrap();
    assert_eq!(reboot(), Err(EBUSY));
    host_api::register_file_handler(gone).unwrap();
    for name in ["mixed", "old"] {
        finish(retrieve(name).unwrap()).unwrap();
    }
    assert_eq!(reboot(), Ok(()));
}
