// SPDX-License-Identifier: GPL-2.0-only

//! What nobody has retrieved goes on to the kernel after the next.

use kernel::{host, prelude::*};
use luo_simulation::{
    create, finish, kexec, power_on, preserve_new, reboot, retrieve, retrieve_contents,
};

/// In C, a second kexec drops every session that nobody has retrieved, without a word.
#[test]
fn sessions_that_nobody_has_retrieved_go_through_kexecs() {
    let probe = power_on();
    let session = create("s").unwrap();
    preserve_new(session, "one", 1).unwrap();
    preserve_new(session, "two", 2).unwrap();
    create("empty").unwrap();
    probe.pass_on();
    for _ in 0..3 {
        kexec(probe);
    }
    preserve_new(create("new").unwrap(), "three", 3).unwrap();
    kexec(probe);

    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 2).unwrap(), "two");
    assert_eq!(retrieve_contents(session, 1).unwrap(), "one");
    finish(session).unwrap();
    assert_eq!(
        retrieve_contents(retrieve("new").unwrap(), 3).unwrap(),
        "three"
    );
    finish(retrieve("empty").unwrap()).unwrap();
}

#[test]
fn a_kexec_that_fails_leaves_what_it_would_have_passed_on() {
    let probe = power_on();
    let old = create("old").unwrap();
    preserve_new(old, "one", 1).unwrap();
    preserve_new(old, "two", 2).unwrap();
    kexec(probe);
    probe.pass_on();
    preserve_new(create("new").unwrap(), "three", 3).unwrap();
    let pages = host::pages_in_use();
    probe.refuse("freeze three", EIO);
    assert_eq!(reboot(), Err(EIO));
    let calls = probe.calls();
    assert_eq!(calls[calls.len() - 2..], ["uncarry untried"; 2]);
    assert_eq!(host::pages_in_use(), pages);
    let old = retrieve("old").unwrap();
    assert_eq!(retrieve_contents(old, 1).unwrap(), "one");
    // Somebody has it now.
    assert_eq!(reboot(), Err(EBUSY));
    host::close(old).unwrap();
    assert_eq!(reboot(), Err(EBUSY), "one file of it is open");
    probe.relent();
    let old = retrieve("old").unwrap();
    assert_eq!(retrieve_contents(old, 2).unwrap(), "two");
    finish(old).unwrap();
    kexec(probe);
    assert_eq!(
        retrieve_contents(retrieve("new").unwrap(), 3).unwrap(),
        "three"
    );
}

/// The next kernel would not know which of the two is meant.
#[test]
fn a_session_with_the_name_of_a_new_one_is_not_passed_on() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "old", 1).unwrap();
    kexec(probe);
    probe.pass_on();
    let new = create("s").unwrap();
    assert_eq!(reboot(), Err(EBUSY));
    host::close(new).unwrap();
    kexec(probe);
    assert_eq!(retrieve_contents(retrieve("s").unwrap(), 1).unwrap(), "old");
}
