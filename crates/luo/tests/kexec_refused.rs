// SPDX-License-Identifier: GPL-2.0-only

//! A kexec that would lose something is refused before anything is frozen.

use kernel::{
    host::{self, Image},
    prelude::*,
};
use luo::host_api;
use luo_simulation::{
    create, finish, is_available, kexec, open_device, power_on, preserve_new, reboot, retrieve,
    retrieve_fd,
};

/// In C, a second kexec drops every session that nobody has retrieved, without a word.
#[test]
fn a_kexec_that_would_lose_incoming_sessions_is_refused() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "f", 1).unwrap();
    kexec(probe);
    // Nobody has even opened the device.
    preserve_new(create("next").unwrap(), "n", 1).unwrap();
    probe.calls();
    assert_eq!(reboot(), Err(EBUSY));
    let log = host::console();
    assert!(
        log.contains("session 's' of the previous kernel is not finished"),
        "{log}"
    );

    let session = retrieve("s").unwrap();
    assert_eq!(reboot(), Err(EBUSY), "retrieved");
    retrieve_fd(session, 1).unwrap();
    assert_eq!(reboot(), Err(EBUSY), "fetched");
    assert!(!probe.calls().contains(&"freeze n".to_owned()));
    finish(session).unwrap();
    kexec(probe);
    assert!(is_available("next"));
}

#[test]
fn a_session_that_is_finished_by_its_close_does_not_refuse_a_kexec() {
    let probe = power_on();
    create("s").unwrap();
    kexec(probe);
    host::close(retrieve("s").unwrap()).unwrap();
    assert_eq!(reboot(), Ok(()));
}

/// In C, an image of kexec_load(2), which carries no handover data, takes the jump: freezing
/// succeeds, and everything is lost.
#[test]
fn an_image_without_handover_data_is_refused_while_there_are_sessions() {
    let probe = power_on();
    let session = create("s").unwrap();
    preserve_new(session, "f", 1).unwrap();
    probe.calls();
    host::load_image(Image::WithoutHandover);
    assert_eq!(host_api::reboot(), Err(ENOEXEC));
    assert!(host::console().contains("not loaded by kexec_file_load"));
    assert_eq!(probe.calls(), [""; 0], "nothing was frozen");

    preserve_new(session, "g", 2).unwrap();
    kexec(probe);
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_fd(session, 2).map(drop), Ok(()));
}

#[test]
fn an_image_without_handover_data_is_fine_without_sessions() {
    let probe = power_on();
    host::close(create("s").unwrap()).unwrap();
    host::load_image(Image::WithoutHandover);
    assert_eq!(host_api::reboot(), Ok(()));
    host::kexec();
    luo_simulation::boot(&[kernel::liveupdate::FileHandler::new(probe)]);
    assert_eq!(open_device().map(drop), Ok(()));
}
