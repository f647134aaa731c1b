// SPDX-License-Identifier: GPL-2.0-only

//! Answers that cannot be written, and memory that makes the kernel wait.

use kernel::{
    host::{
        self,
        user::{on_fault, Access},
    },
    prelude::*,
};
use luo_simulation::{
    create, is_available, kexec, open_device, power_on, preserve_new, probe::Probe, reboot,
    retrieve, retrieve_contents, retrieve_fd, uapi::Call, ESHUTDOWN,
};
use std::sync::{Arc, Mutex};

fn one_file() -> &'static Probe {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "f", 1).unwrap();
    kexec(probe);
    probe
}

#[test]
fn a_session_whose_descriptor_cannot_be_told_is_not_made() {
    let probe = power_on();
    let idle_pages = host::pages_in_use();
    let device = open_device().unwrap();
    assert_eq!(Call::create("s").unwritable().on(device), Err(EFAULT));
    assert_eq!(host::pages_in_use(), idle_pages);
    host::close(device).unwrap();
    assert_eq!(create("s"), Ok(1), "name and number are free again");
    kexec(probe);
    assert!(is_available("s"));
}

/// In C, RETRIEVE_SESSION into an unwritable buffer gives EFAULT, and drops the only reference to
/// the session's file, which finishes the session: all its files are gone.
#[test]
fn retrieve_session_that_cannot_answer_loses_nothing() {
    one_file();
    let device = open_device().unwrap();
    assert_eq!(Call::retrieve("s").unwritable().on(device), Err(EFAULT));
    host::close(device).unwrap();
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "f");
}

/// The same, after all files were fetched by somebody before.
#[test]
fn retrieve_session_that_cannot_answer_does_not_finish() {
    let probe = one_file();
    let session = retrieve("s").unwrap();
    retrieve_fd(session, 1).unwrap();
    probe.refuse("can_finish f", EBUSY);
    host::close(session).unwrap();
    probe.relent();
    let device = open_device().unwrap();
    assert_eq!(Call::retrieve("s").unwritable().on(device), Err(EFAULT));
    host::close(device).unwrap();
    assert!(is_available("s"));
}

#[test]
fn retrieve_fd_that_cannot_answer_has_not_fetched() {
    let probe = one_file();
    let session = retrieve("s").unwrap();
    assert_eq!(Call::retrieve_fd(1).unwritable().on(session), Err(EFAULT));
    host::close(session).unwrap();
    assert!(probe.calls().iter().all(|it| !it.starts_with("finish")));
    let session = retrieve("s").unwrap();
    assert_eq!(retrieve_contents(session, 1).unwrap(), "f");
    host::close(session).unwrap();
    assert_eq!(retrieve("s"), Err(ENOENT));
}

#[test]
fn get_name_that_cannot_answer_says_so() {
    power_on();
    let session = create("s").unwrap();
    assert_eq!(Call::get_name().unwritable().on(session), Err(EFAULT));
}

/// In C, an ioctl that waits for user memory holds the lock that reboot(2) needs: a page that
/// userfaultfd keeps back stops the update for ever. Here other tasks run while an ioctl waits; a
/// lock that it held would be found by lockdep.
#[test]
fn reboot_does_not_wait_for_an_ioctl_that_waits_for_its_memory() {
    let calls = || {
        [
            Call::create("new"),
            Call::retrieve("s"),
            Call::preserve_fd(-1, 1),
            Call::retrieve_fd(1),
            Call::finish(),
            Call::get_name(),
        ]
    };
    for (index, name) in [
        "device", "device", "outgoing", "incoming", "incoming", "incoming",
    ]
    .into_iter()
    .enumerate()
    {
        for access in [Access::Read, Access::Write] {
            one_file();
            let outgoing = create("outgoing").unwrap();
            let call = &calls()[index];
            let rebooted = Arc::new(Mutex::new(None));
            let result = Arc::clone(&rebooted);
            on_fault(call.addr, access, move || {
                *result.lock().unwrap() = Some(reboot());
            });
            let fd = match name {
                "device" => open_device().unwrap(),
                "outgoing" => outgoing,
                _ => retrieve("s").unwrap(),
            };
            let _ = call.on(fd);
            let answers = matches!(index, 0 | 1 | 3 | 5);
            let waited = access == Access::Read || answers;
            // The unfinished session refuses the kexec: what counts is that the call came back.
            let expected = waited.then_some(Err(EBUSY));
            assert_eq!(*rebooted.lock().unwrap(), expected, "{index} {access:?}");
        }
    }
}

#[test]
fn a_session_that_is_handed_over_while_its_creator_waits_arrives() {
    let probe = power_on();
    let call = Call::create("s");
    on_fault(call.addr, Access::Write, || reboot().unwrap());
    call.on(open_device().unwrap()).unwrap();
    assert_eq!(preserve_new(call.fd(), "late", 1), Err(ESHUTDOWN));
    host::kexec();
    luo_simulation::boot(&[kernel::liveupdate::FileHandler::new(probe)]);
    assert!(is_available("s"));
}

#[test]
fn a_session_is_not_retrieved_twice_while_the_first_waits() {
    one_file();
    let call = Call::retrieve("s");
    let second = Call::retrieve("s");
    let device = open_device().unwrap();
    let (cmd, addr) = (second.cmd, second.addr);
    on_fault(call.addr, Access::Write, move || {
        assert_eq!(host::ioctl(device, cmd, addr), Err(EINVAL));
    });
    call.on(device).unwrap();
    assert_eq!(retrieve_contents(call.fd(), 1).unwrap(), "f");
}

#[test]
fn a_descriptor_that_is_about_to_be_given_out_cannot_be_closed_before() {
    power_on();
    let device = open_device().unwrap();
    let call = Call::create("s");
    on_fault(call.addr, Access::Write, move || {
        assert_eq!(host::close(device + 1), Err(EBADF));
    });
    call.on(device).unwrap();
    assert_eq!(call.fd(), device + 1);
    assert_eq!(preserve_new(call.fd(), "f", 1), Ok(()));
}
