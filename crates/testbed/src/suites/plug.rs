// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory that comes while a kernel runs, and that the next one boots without.

use anyhow::ensure;

use super::{
    kho::{on_processor, shared_kib, two_nodes},
    memfd::{KIB, MIB},
};
use crate::{
    machine::MachineConfig,
    scenario::{
        Action, Flavor, Hop, Play, Scenario,
        steps::{
            create, fails, fetch, finish, full, judge, kexec, memfd, open, preserve, program,
            retrieve, verify,
        },
    },
};

/// With this on its command line a kernel has 64 MiB on the second node, and so knows where memory that comes later belongs.
const UNPLUGGED: &str = "memmap=960M%0x40000000-1 kho_scratch=64M,128M,4M";
/// What our kernel says of memory that it cannot preserve.
const NOT_THERE: &str = "the next kernel does not boot with them";

pub(super) fn all(flavor: Flavor) -> Vec<Scenario> {
    let scenario = |name, actions| {
        Scenario::new(format!("{name} on {}", flavor.name()), flavor, actions)
            .on(two_nodes_with_little_on_the_second)
    };
    vec![
        scenario("defects/plugged memory", plugged(flavor)).expecting(NOT_THERE),
        scenario("kho/moveable plugged memory", moveable(flavor)),
    ]
}

fn two_nodes_with_little_on_the_second(machine: &mut MachineConfig) {
    machine.first_cmdline = UNPLUGGED.into();
    two_nodes(machine);
}

/// A file on each node, when 128 MiB have come to the second one, and a session with that on the first.
fn files_on_both_nodes(online: &str) -> Vec<Action> {
    let plug = format!(
        "cd /sys/devices/system/memory && echo 0x48000000 > probe && echo {online} > memory9/state"
    );
    vec![
        program(&["sh", "-c", &plug], vec![]),
        on_processor(0),
        memfd("first", &full(1, 64 * MIB)),
        on_processor(1),
        memfd("plugged", &full(2, 96 * MIB)),
        Action::Play(Play::new(&[], |stage| {
            let kib = shared_kib(stage, 1)?;
            ensure!(kib > 64 * KIB, "{kib} KiB of the file are on node 1");
            Ok(())
        })),
        open(),
        create("s"),
        preserve("s", 1, "first"),
    ]
}

fn first_is_whole() -> [Action; 4] {
    [
        open(),
        retrieve("s"),
        fetch("s", 1, "first"),
        verify("first", &full(1, 64 * MIB)),
    ]
}

/// What lies there for good is taken by C, whose next kernel stumbles over it, and refused by ours. What the kernel itself needs
/// for a session is elsewhere, though the process gets its memory there.
fn plugged(flavor: Flavor) -> Vec<Action> {
    let hop = Hop {
        cmdline: UNPLUGGED,
        ..Hop::to(flavor)
    };
    let mut actions = files_on_both_nodes("online_kernel");
    actions.extend([
        match flavor {
            Flavor::C => preserve("s", 2, "plugged"),
            Flavor::Rust => fails(preserve("s", 2, "plugged"), libc::ENXIO),
        },
        verify("plugged", &full(2, 96 * MIB)),
        judge(Action::Kexec(hop), "QEMU ended without a word during kexec"),
    ]);
    actions.extend(first_is_whole());
    actions.push(finish("s"));
    actions
}

/// What can be moved is.
fn moveable(flavor: Flavor) -> Vec<Action> {
    let mut actions = files_on_both_nodes("online_movable");
    actions.extend([preserve("s", 2, "plugged"), kexec(flavor)]);
    actions.extend(first_is_whole());
    actions.extend([
        fetch("s", 2, "plugged"),
        verify("plugged", &full(2, 96 * MIB)),
        finish("s"),
    ]);
    actions
}
