// SPDX-License-Identifier: GPL-2.0-only

//! Between a successful hand-over and the jump, nothing changes any more, and nobody waits.

use kernel::{
    host::{self, memfd},
    liveupdate::FileHandler,
};
use luo_simulation::{
    boot, create, finish, kexec, open_device, power_on, preserve, preserve_new, reboot, retrieve,
    retrieve_contents, retrieve_fd, uapi::Call, ESHUTDOWN,
};

#[test]
fn changes_are_refused_at_once() {
    let probe = power_on();
    preserve_new(create("in").unwrap(), "f", 1).unwrap();
    kexec(probe);
    let incoming = retrieve("in").unwrap();
    retrieve_fd(incoming, 1).unwrap();
    finish(incoming).unwrap();
    let outgoing = create("out").unwrap();
    let file = memfd::create(b"late").unwrap();
    reboot().unwrap();
    probe.calls();

    assert_eq!(create("late"), Err(ESHUTDOWN));
    assert_eq!(retrieve("in"), Err(ESHUTDOWN));
    assert_eq!(preserve(outgoing, file, 1), Err(ESHUTDOWN));
    assert_eq!(retrieve_fd(incoming, 1), Err(ESHUTDOWN));
    assert_eq!(finish(incoming), Err(ESHUTDOWN));
    assert_eq!(reboot(), Err(ESHUTDOWN));
    assert_eq!(probe.calls(), [""; 0]);
    assert_eq!(
        Call::get_name().on(outgoing),
        Ok(()),
        "this changes nothing"
    );
}

#[test]
fn a_session_that_is_closed_then_arrives_nevertheless() {
    let probe = power_on();
    let session = create("s").unwrap();
    preserve_new(session, "f", 1).unwrap();
    reboot().unwrap();
    host::close(session).unwrap();
    host::exit();
    assert_eq!(probe.calls(), ["preserve f", "freeze f"]);
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "f");
}

#[test]
fn the_device_can_be_opened_and_closed() {
    power_on();
    reboot().unwrap();
    host::close(open_device().unwrap()).unwrap();
    assert_eq!(open_device().map(drop), Ok(()));
}
