// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kexecs that lose everything on upstream's C.

use luo_guest::proto::LoadMethod;

use super::defects::{both_files_are_whole, two_files_go_over};
use crate::scenario::{
    Action, Flavor, Hop, Scenario,
    steps::{
        close, close_device, create, fails, fetch, finish, full, judge, kexec, memfd, open,
        preserve, retrieve, verify,
    },
};

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        Scenario::new(
            format!("defects/{what} on {}", flavor.name()),
            flavor,
            actions,
        )
        .expecting("kexec refused")
    };
    vec![
        scenario(
            "second kexec with a session not retrieved",
            second_kexec(flavor),
        ),
        scenario("an image without handover data", legacy_image(flavor)),
    ]
}

/// A second kexec, before anybody had retrieved the sessions of the first, silently dropped them.
fn second_kexec(flavor: Flavor) -> Vec<Action> {
    let third = full(3, 64 << 10);
    let mut actions = two_files_go_over(flavor);
    actions.extend([
        // Nobody has even opened the device.
        kexec(flavor),
        open(),
        judge(retrieve("s"), "errno 2:"),
        // Somebody has it, and could get a file any moment.
        fails(kexec(flavor), libc::EBUSY),
        close("s"),
        create("t"),
        memfd("three", &third),
        preserve("t", 3, "three"),
        close_device(),
        kexec(flavor),
        open(),
        retrieve("t"),
        fetch("t", 3, "three"),
        verify("three", &third),
        finish("t"),
        close("t"),
        // The next kernel would not know which of the two is meant.
        create("s"),
        fails(kexec(flavor), libc::EBUSY),
        close("s"),
        retrieve("s"),
    ]);
    actions.extend(both_files_are_whole());
    actions.extend([close_device(), kexec(flavor)]);
    actions
}

/// An image loaded by `kexec_load` carries no handover data: the kexec went through and everything was lost.
fn legacy_image(flavor: Flavor) -> Vec<Action> {
    let hop = Hop {
        method: LoadMethod::Legacy,
        ..Hop::to(flavor)
    };
    let file = full(1, 64 << 10);
    vec![
        open(),
        create("s"),
        memfd("one", &file),
        memfd("two", &full(2, 128 << 10)),
        preserve("s", 1, "one"),
        judge(Action::KexecRefused(hop, libc::ENOEXEC), "should refuse"),
        // Nothing was frozen.
        preserve("s", 2, "two"),
        verify("one", &file),
        close_device(),
        kexec(flavor),
        open(),
        retrieve("s"),
        fetch("s", 1, "one"),
        verify("one", &file),
        fetch("s", 2, "two"),
        finish("s"),
        close("s"),
        close_device(),
        // Without sessions there is nothing to lose.
        Action::Kexec(hop),
    ]
}
