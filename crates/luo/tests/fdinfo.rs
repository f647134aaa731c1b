// SPDX-License-Identifier: GPL-2.0-only

//! What `/proc/PID/fdinfo` shows of sessions.

use kernel::{host, prelude::*};
use luo_simulation::{
    create, finish, kexec, power_on, preserve_new, reboot, retrieve, retrieve_fd,
};

#[test]
fn an_outgoing_session_shows_its_files() {
    power_on();
    let session = create("vm").unwrap();
    preserve_new(session, "a", 0x10).unwrap();
    preserve_new(session, "bcd", 0).unwrap();
    let shown = "[luo_session] vm\nluo-session:\tvm\nluo-direction:\toutgoing\nluo-state:\topen\n\
                 luo-file:\t0x10 probe-v1 preserved\nluo-file:\t0x0 probe-v1 preserved\n\
                 luo-size:\t0x10 1\nluo-size:\t0x0 3\n";
    assert_eq!(host::fdinfo(session).unwrap(), shown);
    reboot().unwrap();
    let shown = shown
        .replace("open", "handed over")
        .replace("preserved", "handed over");
    assert_eq!(host::fdinfo(session).unwrap(), shown);
}

#[test]
fn an_incoming_session_shows_how_far_it_has_come() {
    let probe = power_on();
    let session = create("vm").unwrap();
    for token in 1..=3 {
        preserve_new(session, "f", token).unwrap();
    }
    kexec(probe);
    let session = retrieve("vm").unwrap();
    retrieve_fd(session, 1).unwrap();
    probe.refuse("retrieve untried", EIO);
    retrieve_fd(session, 3).unwrap_err();
    let head = "[luo_session] vm\nluo-session:\tvm\nluo-direction:\tincoming\n";
    let files = "luo-file:\t0x1 probe-v1 retrieved\nluo-file:\t0x2 probe-v1 waiting\n\
                 luo-file:\t0x3 probe-v1 failed\n";
    let shown = format!("{head}luo-state:\tretrieved\n{files}luo-size:\t0x1 1\n");
    assert_eq!(host::fdinfo(session).unwrap(), shown);
    finish(session).unwrap();
    assert_eq!(
        host::fdinfo(session).unwrap(),
        format!("{head}luo-state:\tfinished\n")
    );
}

#[test]
fn a_name_cannot_forge_lines() {
    power_on();
    let session = create("a\nluo-state:\u{1b}é").unwrap();
    let shown = host::fdinfo(session).unwrap();
    assert!(shown.contains("luo-session:\ta?luo-state:?é\n"), "{shown}");
}
