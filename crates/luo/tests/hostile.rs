// SPDX-License-Identifier: GPL-2.0-only

//! What the previous kernel wrote may be anything. What is broken is leaked, never used.

use kernel::{host, liveupdate::FileHandler, prelude::*};
use luo::host_api;
use luo_simulation::{
    boot, create, finish,
    image::{number, set, Image},
    is_available, open_device, power_on, preserve_new, reboot, retrieve, retrieve_contents,
};
use std::cell::Cell;

/// Hands a small set over, lets `corrupt` at it, and boots the next kernel.
fn corrupted(corrupt: impl FnOnce(&Image)) -> Result {
    let probe = power_on();
    let session = create("first").unwrap();
    for token in 1..=64 {
        preserve_new(session, "f", token).unwrap();
    }
    preserve_new(create("second").unwrap(), "s", 1).unwrap();
    reboot().unwrap();
    corrupt(&Image::find());
    host::kexec();
    host_api::boot()?;
    host_api::register_file_handler(FileHandler::new(probe))
}

/// What is wrong, and how it is made wrong.
type Case = (&'static str, fn(&Image));

#[test]
fn a_broken_root_stops_the_boot() {
    let version = |image: &Image| host::poke(image.root, 0, b"luo-v6");
    assert_eq!(corrupted(version), Err(EINVAL));
    assert!(host::console().contains("wrote 'luo-v6', this one reads 'luo-v5'"));
}

/// The kernel's arithmetic is checked: one more than the greatest number stopped the boot.
#[test]
fn any_number_of_the_live_update_is_counted_on_from_as_c_does() {
    corrupted(|it| set(it.root, 8, u64::MAX)).unwrap();
    assert!(is_available("first"));
    let (root, _) = host::published(c"LUO").unwrap();
    assert_eq!(number(root, 8), 0);
}

#[test]
fn broken_sessions_make_the_device_unusable_for_good_and_free_nothing() {
    let cases: [Case; 6] = [
        ("no such page", |it| set(it.root, 16, 0x1000)),
        ("not aligned", |it| set(it.root, 16, it.sessions + 8)),
        ("claimed by another", |it| set(it.root, 16, it.root)),
        ("cycle", |it| set(it.sessions, 0, it.sessions)),
        ("next is nowhere", |it| set(it.sessions, 0, u64::MAX)),
        ("too many", |it| set(it.sessions, 8, 52)),
    ];
    for (what, corrupt) in cases {
        corrupted(corrupt).unwrap();
        let pages = host::pages_in_use();
        for _ in 0..2 {
            assert_eq!(open_device(), Err(EIO), "{what}");
        }
        assert_eq!(host::pages_in_use(), pages, "{what}");
        // Nothing can be retrieved any more: only a reboot helps, so it is not refused.
        assert_eq!(reboot(), Ok(()), "{what}");
    }
}

#[test]
fn a_broken_session_does_not_concern_the_others() {
    let cases: [Case; 9] = [
        ("no address", |it| it.set_session(0, 64, 0)),
        ("a wild address", |it| it.set_session(0, 64, 0xdead_b000)),
        ("no files", |it| it.set_session(0, 72, 0)),
        ("more files", |it| it.set_session(0, 72, 65)),
        ("countless files", |it| it.set_session(0, 72, u64::MAX)),
        ("a cycle", |it| set(it.files(0), 0, it.files(0))),
        ("too many in a block", |it| set(it.files(0), 8, u64::MAX)),
        ("the same token", |it| it.set_file(1, 56, 1)),
        ("endless compatible", |it| it.write_file(9, &[b'x'; 48])),
    ];
    for (what, corrupt) in cases {
        corrupted(corrupt).unwrap();
        assert_eq!(retrieve("first"), Err(EIO), "{what}");
        assert_eq!(retrieve("first"), Err(EIO), "{what}, again");
        let session = retrieve("second").unwrap();
        assert_eq!(retrieve_contents(session, 1).unwrap(), "s", "{what}");
        finish(session).unwrap();
        // Waiting would not make it any better.
        assert_eq!(reboot(), Ok(()), "{what}");
    }
}

/// The next number was computed with a check for overflow, which stopped the boot.
#[test]
fn the_number_of_live_updates_may_be_any() {
    corrupted(|it| set(it.root, 8, u64::MAX)).unwrap();
    assert!(is_available("first"));
}

/// A single name that could not be used made all sessions unavailable.
#[test]
fn a_session_that_nobody_can_ask_for_does_not_concern_the_others() {
    let cases: [Case; 2] = [
        ("empty name", |it| it.set_session(0, 0, 0)),
        ("endless name", |it| it.write_session(0, &[b'x'; 64])),
    ];
    for (what, corrupt) in cases {
        corrupted(corrupt).unwrap();
        assert_eq!(retrieve("first"), Err(ENOENT), "{what}");
        let session = retrieve("second").unwrap();
        assert_eq!(retrieve_contents(session, 1).unwrap(), "s", "{what}");
        finish(session).unwrap();
        let shown = host_api::show_incoming().unwrap();
        assert!(
            shown.contains("sessions: 1 leaked without a name\n"),
            "{shown}"
        );
        assert_eq!(reboot(), Ok(()), "{what}");
    }
}

#[test]
fn namesakes_are_both_lost_and_nobody_else_is() {
    let probe = power_on();
    for (name, content) in [("first", "1"), ("second", "2"), ("third", "3")] {
        preserve_new(create(name).unwrap(), content, 1).unwrap();
    }
    reboot().unwrap();
    Image::find().write_session(1, b"first\0");
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    assert_eq!(retrieve("first"), Err(EIO));
    assert_eq!(retrieve("second"), Err(ENOENT));
    let third = retrieve("third").unwrap();
    assert_eq!(retrieve_contents(third, 1).unwrap(), "3");
    finish(third).unwrap();
    assert_eq!(reboot(), Ok(()));
}

/// The first of two sessions with the same list of files got them, whosever they were.
#[test]
fn whose_files_are_in_doubt_nobody_gets() {
    let probe = power_on();
    for (name, content) in [("first", "1"), ("second", "2"), ("third", "3")] {
        preserve_new(create(name).unwrap(), content, 1).unwrap();
    }
    reboot().unwrap();
    let image = Image::find();
    image.set_session(0, 64, image.files(1));
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    for name in ["first", "second"] {
        assert_eq!(retrieve(name), Err(EIO), "{name}");
    }
    let third = retrieve("third").unwrap();
    assert_eq!(retrieve_contents(third, 1).unwrap(), "3");
}

#[test]
fn two_sessions_cannot_share_a_block() {
    let share = |it: &Image| it.set_session(1, 64, it.files(0));
    corrupted(share).unwrap();
    assert!(is_available("first"));
    assert_eq!(retrieve("second"), Err(EIO));
    assert!(is_available("first"));
}

#[test]
fn broken_flbs_make_the_device_unusable_but_not_the_boot() {
    let cases: [Case; 4] = [
        ("a wild address", |it| set(it.root, 24, 0x123_4000)),
        ("size", |it| set(it.flbs, 0, 2)),
        ("too many", |it| set(it.flbs, 8, 64)),
        ("nameless", |it| set(it.flbs, 8, 1)),
    ];
    for (what, corrupt) in cases {
        let handed_over = Cell::new(0);
        let corrupt = |image: &Image| {
            corrupt(image);
            handed_over.set(host::pages_in_use());
        };
        assert_eq!(corrupted(corrupt), Ok(()), "{what}");
        let of_this_kernel = 2;
        let pages = host::pages_in_use() - of_this_kernel;
        assert_eq!(pages, handed_over.get(), "{what}: leaked, not freed");
        assert_eq!(open_device(), Err(EIO), "{what}");
        assert_eq!(open_device(), Err(EIO), "{what}, again");
    }
}

/// C writes such a block when it makes room for a session and then refuses it.
#[test]
fn an_empty_last_block_is_no_reason_to_refuse() {
    let probe = power_on();
    for name in 0..52 {
        create(&name.to_string()).unwrap();
    }
    reboot().unwrap();
    let last = number(Image::find().sessions, 0);
    set(last, 8, 0);
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    assert!(is_available("50"));
    assert_eq!(retrieve("51"), Err(ENOENT));
}

/// Whoever looks after the machine can see what a reboot would give back, and why it is gone.
#[test]
fn what_is_leaked_is_shown_with_its_reason() {
    let shown = || host_api::show_incoming().unwrap();
    corrupted(|it| it.set_session(0, 72, 65)).unwrap();
    let unread = "live update: 1\nsessions: not read before the device is opened\n";
    assert_eq!(shown(), unread);
    assert_eq!(retrieve("first"), Err(EIO));
    let broken = "live update: 1\n\
                  session 'first': broken, 65 files and 2 pages of their list leaked: EINVAL\n\
                  session 'second': available, 1 files\n";
    assert_eq!(shown(), broken);

    corrupted(|it| set(it.sessions, 8, 52)).unwrap();
    assert_eq!(open_device(), Err(EIO));
    let all = "live update: 1\nsessions: all, and 1 pages of their list, leaked: EINVAL\n";
    assert_eq!(shown(), all);

    corrupted(|it| set(it.flbs, 8, 64)).unwrap();
    assert!(shown().contains("\nflbs: all, and their page, leaked: EINVAL\n"));
}
