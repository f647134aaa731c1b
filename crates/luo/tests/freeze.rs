// SPDX-License-Identifier: GPL-2.0-only

//! A hand-over that fails leaves everything as it was.

use kernel::{
    host::{self, memfd},
    liveupdate::FileHandler,
    prelude::*,
};
use luo_simulation::{
    boot, create, kexec, power_on, preserve, preserve_new, reboot, retrieve, retrieve_contents,
};

#[test]
fn a_file_that_refuses_has_all_others_unfrozen_the_last_first() {
    let probe = power_on();
    for (session, files) in [("1", ["a", "b"]), ("2", ["c", "d"]), ("3", ["e", "f"])] {
        let session = create(session).unwrap();
        for (token, file) in files.into_iter().enumerate() {
            preserve_new(session, file, token as u64).unwrap();
        }
    }
    probe.calls();
    probe.refuse("freeze d", EIO);
    assert_eq!(reboot(), Err(EIO));
    let calls = [
        "freeze a",
        "freeze b",
        "freeze c",
        "freeze d",
        "unfreeze c",
        "unfreeze b",
        "unfreeze a",
    ];
    assert_eq!(probe.calls(), calls);
    let log = host::console();
    assert!(log.contains("token 0x1 cannot be frozen: EIO"), "{log}");
    assert!(log.contains("session '2' cannot be frozen: EIO"), "{log}");
}

#[test]
fn the_first_file_of_all_can_refuse() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "a", 1).unwrap();
    probe.refuse("freeze a", ENOSPC);
    assert_eq!(reboot(), Err(ENOSPC));
    assert_eq!(probe.calls(), ["preserve a", "freeze a"]);
}

#[test]
fn after_a_failure_the_gate_is_open_and_the_next_try_carries_everything() {
    let probe = power_on();
    let first = create("first").unwrap();
    preserve_new(first, "a", 1).unwrap();
    let second = create("second").unwrap();
    preserve_new(second, "b", 1).unwrap();
    probe.refuse("freeze b", EIO);
    assert_eq!(reboot(), Err(EIO));

    preserve_new(first, "c", 2).unwrap();
    host::close(second).unwrap();
    preserve_new(create("third").unwrap(), "d", 1).unwrap();
    kexec(probe);
    let first = retrieve("first").unwrap();
    assert_eq!(retrieve_contents(first, 1).unwrap(), "a");
    assert_eq!(retrieve_contents(first, 2).unwrap(), "c");
    assert_eq!(retrieve("second"), Err(ENOENT));
    let third = retrieve("third").unwrap();
    assert_eq!(retrieve_contents(third, 1).unwrap(), "d");
}

#[test]
fn freezing_needs_no_memory() {
    let probe = power_on();
    for session in 0..60 {
        let session = create(&session.to_string()).unwrap();
        for token in 0..70 {
            let file = memfd::create(b"f").unwrap();
            preserve(session, file, token).unwrap();
        }
    }
    host::fail_allocation(Some(0));
    assert_eq!(reboot(), Ok(()));
    assert!(
        host::fail_allocation(None).is_some(),
        "no allocation was tried"
    );
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    assert!(retrieve("59").is_ok());
}
