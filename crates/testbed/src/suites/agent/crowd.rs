// SPDX-License-Identifier: Apache-2.0 OR MIT

//! 200 clients, and others that mean no good: the update goes through, and luod stays small.

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::Exit;

use super::{
    host::{Host, Process},
    services::{ALICE, BOB, THREE, are_whole, come_back, join},
};
use crate::scenario::Flavor;

const EACH: &str = "100";
/// What luod may take.
const MOST_KIB: u64 = 10 << 10;
/// Those that stay, each with what it says once it has done its worst.
const STAYING: [(&str, &str); 4] = [
    ("half", "half a line"),
    ("descriptors", "descriptors"),
    ("mute", "heard nothing"),
    ("watch", "heard nothing"),
];

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor) -> Result<()> {
    host.start_luod()?;
    let services = join(host, &THREE, 0)?;
    let crowds = [(ALICE, "alice-x"), (BOB, "bob-x")];
    for (uid, prefix) in crowds {
        let crowd = host.spawn_as(uid, &["crowd", prefix, EACH, "join=0"])?;
        host.await_word(&crowd, "subscribed")?;
    }
    let with_crowd = resident_kib(host)?;

    let descriptors = open_descriptors(host)?;
    let vandals = STAYING
        .iter()
        .map(|(how, _)| host.spawn_as(BOB, &["vandal", how]))
        .collect::<Result<Vec<_>>>()?;
    for (vandal, (_, word)) in vandals.iter().zip(STAYING) {
        host.await_word(vandal, word)?;
    }
    ends_well(host, &["vandal", "json"], "wrong lines")?;
    let garbage = host.spawn_as(BOB, &["vandal", "garbage"])?;
    let among_vandals = resident_kib(host)?;
    ensure!(
        open_descriptors(host)? <= descriptors + vandals.len() + 1,
        "luod keeps descriptors that nobody asked it to take"
    );
    host.load(flavor)?;
    host.await_word(&services[0].process, "subscribed")?;
    host.rehearse()?;
    host.await_word(&garbage, "of garbage")?;
    ensure!(host.await_exit(&garbage)? == Exit::Code(0));
    let after_garbage = resident_kib(host)?;
    host.go()?;

    host.start_luod()?;
    let services = come_back(host, &THREE, 1)?;
    are_whole(host, &services)?;
    for (uid, prefix) in crowds {
        let crowd = host.spawn_as(uid, &["crowd", prefix, EACH, "claim=0"])?;
        host.await_word(&crowd, &format!("done {EACH}"))?;
    }
    let in_the_end = resident_kib(host)?;
    let sizes = [with_crowd, among_vandals, after_garbage, in_the_end];
    eprintln!(
        "note: on {} luod takes {with_crowd} KiB with 200 clients, {after_garbage} KiB after hostile ones, {in_the_end} KiB \
         after 200 claims",
        flavor.name()
    );
    ensure!(
        sizes.iter().all(|kib| *kib < MOST_KIB),
        "luod takes more than {MOST_KIB} KiB: {sizes:?}"
    );
    Ok(())
}

fn ends_well(host: &mut Host<'_, '_>, words: &[&str], word: &str) -> Result<()> {
    let process = host.spawn_as(BOB, words)?;
    host.await_word(&process, word)?;
    ensure!(host.await_exit(&process)? == Exit::Code(0));
    Ok(())
}

/// What luod has in memory.
fn resident_kib(host: &mut Host<'_, '_>) -> Result<u64> {
    let Process { pid, .. } = host.luod()?;
    let path = format!("/proc/{pid}/status");
    let status = host.read(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.context("no VmRSS")?.parse().context("VmRSS")
}

fn open_descriptors(host: &mut Host<'_, '_>) -> Result<usize> {
    let path = format!("/proc/{}/fd", host.luod()?.pid);
    // It fails if one of them is closed meanwhile, and lists the others.
    let listed = host.run(&["ls", &path])?;
    ensure!(!listed.stdout.is_empty(), "{listed:?}");
    Ok(listed.stdout.lines().count())
}
