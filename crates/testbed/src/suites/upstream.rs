// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The kernel tree's own tests: tools/testing/selftests/liveupdate and kho, lib/tests/liveupdate.c.

use crate::{
    operator::exec,
    scenario::{
        Action, Flavor, Scenario,
        steps::{
            close, close_device, create, fetch, finish, full, kexec, memfd, open, preserve,
            program, retrieve, verify,
        },
    },
};

/// Where the programs are in the guest.
pub(super) const FOLDER: &str = "/selftests";

const STAGED: [&str; 4] = [
    "luo_kexec_simple",
    "luo_multi_session",
    "luo_stress_sessions",
    "luo_stress_files",
];

/// `init.c` of the folder of that name.
const KHO: &str = "kho";

pub(super) fn programs(flavor: Flavor) -> Vec<Scenario> {
    let name = |test: &str| format!("upstream/{test} on {}", flavor.name());
    let path = |test: &str| format!("{FOLDER}/{test}");
    let liveupdate = vec![program(&[&path("liveupdate")], vec!["fail:0"])];
    let mut scenarios = vec![Scenario::new(name("liveupdate"), flavor, liveupdate)];
    for test in STAGED {
        // 7.2 knows `--stage` too, 7.3 this alone.
        let actions = vec![
            program(&[&path(test), "-s", "1"], vec!["[STAGE 1]"]),
            kexec(flavor),
            program(&[&path(test), "-s", "2"], vec!["PASSED"]),
        ];
        scenarios.push(Scenario::new(name(test), flavor, actions));
    }
    let kho = Scenario::new(name(KHO), flavor, kho(flavor));
    scenarios.push(kho.on(|machine| machine.kho_test = true));
    scenarios
}

/// Upstream's script has the program alone in a machine, where it mounts what it needs and goes into `/kernel`, without an
/// initial ramdisk.
fn kho(flavor: Flavor) -> Vec<Action> {
    let alone = format!("umount -l /proc && exec {FOLDER}/{KHO}");
    let runs = exec(&["unshare", "-m", "sh", "-c", &alone]);
    vec![
        program(&["mkdir", "/debugfs"], vec![]),
        program(&["/init", "payload", flavor.name(), "/kernel"], vec![]),
        Action::NotPrinted("KHO restore"),
        Action::Last(runs, "KHO restore succeeded"),
    ]
}

/// The test in the kernel binds three FLBs to the memfd handler and says on the log what is called.
pub(super) fn flb(flavor: Flavor) -> Scenario {
    let file = full(1, 4096);
    let mut actions = vec![open(), create("flb"), memfd("file", &file)];
    actions.push(Action::NotPrinted("preserve was triggered"));
    actions.push(preserve("flb", 1, "file"));
    actions.extend(printed_by_each(&FLB_PRESERVED));
    actions.extend([close_device(), kexec(flavor)]);
    actions.extend(printed_by_each(&FLB_FOUND));
    actions.extend([
        open(),
        retrieve("flb"),
        fetch("flb", 1, "file"),
        verify("file", &file),
    ]);
    actions.push(Action::NotPrinted("finish was triggered"));
    actions.push(finish("flb"));
    actions.extend(printed_by_each(&FLB_FINISHED));
    actions.push(close("flb"));
    Scenario::new(
        format!("upstream/flb on {}", flavor.name()),
        flavor,
        actions,
    )
}

pub(super) const FLB_PRESERVED: [&str; 3] = [
    "liveupdate-test-flb-v0: preserve was triggered",
    "liveupdate-test-flb-v1: preserve was triggered",
    "liveupdate-test-flb-v2: preserve was triggered",
];
pub(super) const FLB_FOUND: [&str; 3] = [
    "liveupdate-test-flb-v0: found flb data from the previous boot",
    "liveupdate-test-flb-v1: found flb data from the previous boot",
    "liveupdate-test-flb-v2: found flb data from the previous boot",
];
pub(super) const FLB_FINISHED: [&str; 3] = [
    "liveupdate-test-flb-v0: finish was triggered",
    "liveupdate-test-flb-v1: finish was triggered",
    "liveupdate-test-flb-v2: finish was triggered",
];

/// Each of the messages has been printed.
pub(super) fn printed_by_each(messages: &[&'static str]) -> Vec<Action> {
    messages
        .iter()
        .map(|message| Action::Printed(message))
        .collect()
}
