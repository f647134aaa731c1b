// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What LUO is carried over by: upstream's test of KHO, memory of several nodes, memory that grows, many kexecs in a row.

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{MemfdSpec, Op, Pages, Reply};

use super::{
    Options,
    memfd::{KIB, MIB},
};
use crate::{
    machine::MachineConfig,
    scenario::{
        Action, Expect, Flavor, Hop, Play, Scenario, Stage,
        steps::{
            close, close_device, create, fails, fetch, finish, full, kexec, memfd, open, preserve,
            program, retrieve, verify,
        },
    },
};

/// A node ends there, in the middle of a huge page.
const FIRST_NODE_KIB: u64 = (1 << 20) + 12;
/// The same, as the kernel prints it.
const FIRST_NODE: &str = "Initmem setup node 0 [mem 0x0000000000001000-0x0000000040002fff]";
/// Of this memory of the files, each node has its part.
const EACH_NODE_KIB: u64 = 128 * KIB;

/// A kernel with this on its command line knows of half the memory of the usual machine.
const HALF: &str = "mem=1G";
/// What it says of the rest.
const LOST: &str = "what was there is lost";

/// As many kexecs in a row, unless more are asked for, and with debugging aids.
const KEXECS: u32 = 20;
const KEXECS_WITH_AIDS: u32 = 5;
/// What counters and caches of the processors may hold back; a leak loses more.
const TOLERANCE_KIB: u64 = 3 * KIB;

type File = (&'static str, MemfdSpec);

pub(super) fn all(flavors: &[Flavor]) -> Vec<Scenario> {
    use Flavor::{C, Rust};
    let routes = [[C, C], [C, Rust], [Rust, C], [Rust, Rust]];
    let possible = routes
        .into_iter()
        .filter(|route| route.iter().all(|flavor| flavors.contains(flavor)));
    possible.flat_map(of_route).collect()
}

fn of_route([from, to]: [Flavor; 2]) -> Vec<Scenario> {
    let scenario = |what: &str, actions| {
        let name = format!("kho/{what}, {} to {}", from.name(), to.name());
        Scenario::new(name, from, actions)
    };
    let mut scenarios =
        vec![scenario("upstream", upstream(to)).on(|machine| machine.kho_test = true)];
    // All the rest is for our text, which C cannot do much about.
    if to == Flavor::Rust {
        scenarios.extend([
            scenario("upstream on two nodes", upstream_on_two_nodes(to)).on(|machine| {
                machine.kho_test = true;
                two_nodes(machine);
            }),
            scenario("two nodes", on_two_nodes(from, to)).on(two_nodes),
        ]);
    }
    if from == Flavor::Rust && to == Flavor::Rust {
        scenarios.push(scenario("memory grows", grows(to)).on(|machine| {
            machine.first_cmdline = HALF.into();
        }));
    }
    scenarios
}

/// The first kernel has preserved what upstream's test makes, and the next one finds it.
fn upstream(to: Flavor) -> Vec<Action> {
    vec![
        Action::NotPrinted("KHO restore"),
        kexec(to),
        Action::Printed("KHO restore succeeded"),
        Action::NotPrinted("KHO restore failed"),
    ]
}

fn upstream_on_two_nodes(to: Flavor) -> Vec<Action> {
    [has_two_nodes(), upstream(to), has_two_nodes()].concat()
}

pub(super) fn two_nodes(machine: &mut MachineConfig) {
    machine.first_node_kib = Some(FIRST_NODE_KIB);
}

/// Files of all sizes of pages, which lie on both nodes.
fn on_two_nodes(from: Flavor, to: Flavor) -> Vec<Action> {
    let huge = |seed| MemfdSpec {
        pages: Pages::Huge,
        ..full(seed, 96 * MIB)
    };
    let files = [
        ("huge on 0", huge(1)),
        ("small on 0", full(2, 64 * MIB)),
        ("huge on 1", huge(3)),
        ("small on 1", full(4, 64 * MIB)),
    ];
    let mut actions = has_two_nodes();
    actions.extend([
        // A kernel that came by kexec has less memory than one that was booted.
        kexec(from),
        Action::MarkMemory("a kernel that carries nothing"),
    ]);
    for (processor, files) in files.chunks(2).enumerate() {
        actions.push(on_processor(processor));
        actions.extend(files.iter().map(|(slot, spec)| memfd(slot, spec)));
    }
    actions.push(lie_on_both_nodes());
    actions.extend(preserve_all("s", &files));
    actions.push(kexec(to));
    actions.extend(has_two_nodes());
    actions.extend(fetch_all("s", &files));
    actions.push(lie_on_both_nodes());
    actions.extend(files.iter().map(|(slot, _)| close(slot)));
    if from == to {
        actions.push(Action::SameMemory {
            mark: "a kernel that carries nothing",
            tolerance_kib: TOLERANCE_KIB,
        });
    }
    actions
}

/// The first kernel knows of half the memory only, the next one of all.
fn grows(to: Flavor) -> Vec<Action> {
    let huge = MemfdSpec {
        pages: Pages::Huge,
        ..full(1, 64 * MIB)
    };
    let fragmented = MemfdSpec {
        pages: Pages::Fragmented,
        ..full(3, 16 * MIB)
    };
    let mut files = vec![
        ("huge", huge),
        ("small", full(2, 64 * MIB)),
        ("fragmented", fragmented),
    ];
    let all_of_it = || has_memory(|kib, machine_kib| kib > machine_kib * 3 / 4);
    let mut actions = vec![has_memory(|kib, machine_kib| kib < machine_kib / 2)];
    actions.extend(files.iter().map(|(slot, spec)| memfd(slot, spec)));
    actions.extend(preserve_all("s", &files));
    // Only what somebody has fetched counts as memory.
    actions.push(kexec(to));
    actions.extend(fetch_all("s", &files));
    actions.push(all_of_it());
    // With what lies in the other half it goes on.
    files.push(("beyond", full(4, 512 * MIB)));
    actions.push(memfd("beyond", &files[3].1));
    actions.extend(preserve_all("s", &files));
    actions.push(kexec(to));
    actions.extend(fetch_all("s", &files));
    actions.push(all_of_it());
    actions
}

/// The last kernel knows of half the memory only. What lies beyond is lost, and nothing else.
pub(super) fn shrinks() -> Scenario {
    let rust = Flavor::Rust;
    // More than there is in one half.
    let files = [("page", full(1, 4 * KIB)), ("large", full(2, 1000 * MIB))];
    let mut actions = vec![kexec(rust)];
    actions.extend(files.iter().map(|(slot, spec)| memfd(slot, spec)));
    actions.extend(preserve_all("s", &files));
    actions.extend([
        Action::Kexec(Hop {
            cmdline: HALF,
            ..Hop::to(rust)
        }),
        Action::Printed(LOST),
        open(),
        retrieve("s"),
        fails(fetch("s", 1, "large"), libc::EINVAL),
        fetch("s", 0, "page"),
        verify("page", &files[0].1),
        finish("s"),
        close("s"),
    ]);
    // The kernel that boots has to fit into what the first one has set aside, so that one has half the memory, too.
    Scenario::new("kho/memory shrinks, rust to rust", rust, actions)
        .on(|machine| machine.first_cmdline = HALF.into())
        .expecting(LOST)
        .expecting("is leaked")
        .expecting("cannot be retrieved")
}

/// How much memory the running kernel has, beside how much the machine has.
fn has_memory(enough: fn(u64, u64) -> bool) -> Action {
    Action::Play(Play::new(&[], move |stage| {
        let machine_kib = stage.machine_memory_kib();
        let Ok(Reply::MemInfo(info)) = stage.call(Op::MemInfo)? else {
            bail!("no memory information")
        };
        let kib = *info.get("MemTotal").context("no MemTotal")?;
        ensure!(
            enough(kib, machine_kib),
            "the kernel has {kib} KiB of the machine's {machine_kib} KiB"
        );
        Ok(())
    }))
}

/// Many kexecs in a row, from each implementation to each if both are there. Two files go all the way, two more from each kernel
/// to the next, where as much memory is free afterwards as in one that has carried nothing.
pub(super) fn chain(flavors: &[Flavor], options: &Options) -> Scenario {
    let usual = if options.with_aids {
        KEXECS_WITH_AIDS
    } else {
        KEXECS
    };
    let count = options.kexecs.unwrap_or(usual);
    let c = *flavors.first().unwrap_or(&Flavor::Rust);
    let route = [c, Flavor::Rust, Flavor::Rust];
    let old = files_of_chain(["old huge", "old fragmented"], 0);
    let make = |files: &[File]| {
        files
            .iter()
            .map(|(slot, spec)| memfd(slot, spec))
            .collect::<Vec<_>>()
    };
    let mut actions = Vec::new();
    for flavor in [c, Flavor::Rust] {
        actions.push(kexec(flavor));
        actions.extend(make(&old));
        actions.push(Action::MarkMemory(flavor.name()));
    }
    for (number, &next) in (1..=count.into()).zip(route.iter().cycle()) {
        let new = files_of_chain(["new huge", "new fragmented"], number);
        actions.extend(make(&new));
        actions.extend(preserve_all("old", &old));
        actions.extend(preserve_all("new", &new));
        actions.push(kexec(next));
        actions.extend(fetch_all("new", &new));
        actions.extend(fetch_all("old", &old));
        actions.extend(new.iter().map(|(slot, _)| close(slot)));
        actions.push(Action::SameMemory {
            mark: next.name(),
            tolerance_kib: TOLERANCE_KIB,
        });
    }
    Scenario::new(
        format!("kho/{count} kexecs of {} and rust", c.name()),
        c,
        actions,
    )
}

fn files_of_chain(names: [&'static str; 2], number: u64) -> [File; 2] {
    let pages = [Pages::Huge, Pages::Fragmented];
    let spec = |index: usize| MemfdSpec {
        pages: pages[index],
        ..full(2 * number + index as u64, 12 * MIB)
    };
    [(names[0], spec(0)), (names[1], spec(1))]
}

fn preserve_all(session: &str, files: &[File]) -> Vec<Action> {
    let mut actions = vec![open(), create(session)];
    actions.extend(
        (0..)
            .zip(files)
            .map(|(token, (slot, _))| preserve(session, token, slot)),
    );
    actions.push(close_device());
    actions
}

/// The files stay open.
fn fetch_all(session: &str, files: &[File]) -> Vec<Action> {
    let mut actions = vec![open(), retrieve(session)];
    actions.extend(
        (0..)
            .zip(files)
            .map(|(token, (slot, _))| fetch(session, token, slot)),
    );
    actions.extend(files.iter().map(|(slot, spec)| verify(slot, spec)));
    actions.extend([finish(session), close(session), close_device()]);
    actions
}

fn has_two_nodes() -> Vec<Action> {
    let path = "/sys/devices/system/node/online".into();
    vec![
        Action::Do(Op::ReadFile { path }, Expect::Contents("0-1")),
        Action::Printed(FIRST_NODE),
    ]
}

/// The agent, which starts the shell, takes memory near this processor from now on.
pub(super) fn on_processor(number: usize) -> Action {
    let pin = format!("taskset -p {:x} $PPID", 1 << number);
    program(&["sh", "-c", &pin], vec!["new affinity mask"])
}

fn lie_on_both_nodes() -> Action {
    Action::Play(Play::new(&[], |stage| {
        for node in 0..2 {
            let kib = shared_kib(stage, node)?;
            ensure!(
                kib >= EACH_NODE_KIB,
                "of the files, {kib} KiB lie on node {node}"
            );
        }
        Ok(())
    }))
}

pub(super) fn shared_kib(stage: &mut Stage<'_>, node: u32) -> Result<u64> {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let Ok(Reply::Bytes(bytes)) = stage.call(Op::ReadFile { path: path.clone() })? else {
        bail!("there is no node {node}")
    };
    let text = String::from_utf8(bytes)?;
    let words = text.lines().map(|line| line.split_whitespace());
    // "Node 0 Shmem: 1234 kB"
    let found = words.map(|line| line.skip(2)).find_map(|mut line| {
        (line.next() == Some("Shmem:"))
            .then(|| line.next())
            .flatten()
    });
    Ok(found
        .with_context(|| format!("no Shmem in {path}"))?
        .parse()?)
}
