// SPDX-License-Identifier: GPL-2.0-only

//! Out of memory at every possible point: nothing has changed then, and a repeat succeeds.

use kernel::{
    host::{self, memfd},
    liveupdate::{FileHandler, Flb},
    prelude::*,
};
use luo::host_api;
use luo_simulation::{
    create, finish, kexec, open_device, power_on, power_on_with, preserve, probe::Probe, retrieve,
    retrieve_contents, retrieve_fd, shared::Shared,
};

/// Lets every allocation of `attempt` fail in turn until it succeeds; `unchanged` is what must be
/// the same after each failure.
fn fail_everywhere<T, S: PartialEq + core::fmt::Debug>(
    mut attempt: impl FnMut() -> Result<T>,
    unchanged: impl Fn() -> S,
) -> T {
    let before = unchanged();
    for successes in 0..100 {
        host::fail_allocation(Some(successes));
        let result = attempt();
        let unused = host::fail_allocation(None).is_some();
        match result {
            Ok(done) => {
                assert!(unused, "a failed allocation went unnoticed");
                assert!(successes > 0, "nothing was allocated");
                return done;
            }
            Err(err) => assert_eq!(err, ENOMEM, "allocation {successes}"),
        }
        assert_eq!(unchanged(), before, "allocation {successes}");
    }
    panic!("it never succeeds");
}

#[test]
fn create_session() {
    let probe = power_on();
    // The last of these begins a block.
    for name in 0..52 {
        fail_everywhere(|| create(&name.to_string()), host::pages_in_use);
    }
    kexec(probe);
    assert!(retrieve("51").is_ok());
}

#[test]
fn preserve_fd() {
    let probe = power_on();
    let shared = Shared::new("flb");
    let flb = Flb::new(shared);
    host_api::register_flb(FileHandler::new(probe), flb).unwrap();
    let session = create("s").unwrap();
    for token in 0..64 {
        let file = memfd::create(b"two pages".repeat(500).as_slice()).unwrap();
        fail_everywhere(|| preserve(session, file, token), host::pages_in_use);
        shared.calls();
    }
    host::close(session).unwrap();
    assert_eq!(shared.calls(), ["unpreserve"]);
}

#[test]
fn open_and_retrieve() {
    let probe = power_on();
    for name in ["a", "b"] {
        let session = create(name).unwrap();
        for token in 0..64 {
            let file = memfd::create(b"f").unwrap();
            preserve(session, file, token).unwrap();
        }
    }
    kexec(probe);
    let device = fail_everywhere(open_device, || ());
    host::close(device).unwrap();
    for name in ["a", "b"] {
        let session = fail_everywhere(|| retrieve(name), || ());
        // Where the handler itself gets no memory its data are lost, by the interface of 7.2; what
        // LUO needs it takes before.
        host::fail_allocation(Some(0));
        assert_eq!(retrieve_fd(session, 5), Err(ENOMEM));
        for token in 0..64 {
            assert_eq!(retrieve_contents(session, token).unwrap(), "f");
        }
        finish(session).unwrap();
    }
}

#[test]
fn reboot() {
    let probe = power_on();
    create("s").unwrap();
    kexec(probe);
    fail_everywhere(
        || match luo_simulation::reboot() {
            Err(EBUSY) => Ok(()),
            result => result,
        },
        || (),
    );
    assert!(retrieve("s").is_ok());
}

#[test]
fn freezing_needs_none() {
    let probe = power_on();
    for session in 0..60 {
        let session = create(&session.to_string()).unwrap();
        for token in 0..70 {
            let file = memfd::create(b"f").unwrap();
            preserve(session, file, token).unwrap();
        }
    }
    host::fail_allocation(Some(0));
    assert_eq!(luo_simulation::reboot(), Ok(()));
    assert!(
        host::fail_allocation(None).is_some(),
        "no allocation was tried"
    );
    host::kexec();
    luo_simulation::boot(&[FileHandler::new(probe)]);
    assert!(retrieve("59").is_ok());
}

#[test]
fn registration() {
    power_on_with(&[]);
    let handler = FileHandler::new(Probe::new("other-v1"));
    fail_everywhere(|| host_api::register_file_handler(handler), || ());
    for name in ["flb-1", "flb-2"] {
        // Another one each time: if a failed attempt left anything behind, the name would be taken.
        let register = || {
            let flb = Flb::new(Shared::new(name));
            host_api::register_flb(handler, flb)
        };
        fail_everywhere(register, || ());
    }
}
