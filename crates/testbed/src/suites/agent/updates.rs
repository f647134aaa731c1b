// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Updates in a row, all data checked after each: services of two users, a crowd, files that luod keeps, a client in C that knows
//! nothing but the published protocol, and the example for authors of VMMs.

use anyhow::{Result, ensure};
use luo_guest::proto::Exit;
use luod::protocol::{SOCKET_PATH, Timeline};

use super::{
    host::{Host, Process},
    kept::Kept,
    services::{ALICE, BOB, THREE, are_whole, come_back, is_subscribed, join},
};
use crate::scenario::Flavor;

/// How many, unless more are asked for.
pub(super) const COUNT: u32 = 3;
/// More sessions than one page of the hand-over lists.
const CROWD: &str = "60";
/// The example.
const EXAMPLE: &str = "bob-vm";
/// The client in C.
const PUBLISHED: &str = "alice-c";

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor, count: u32) -> Result<()> {
    host.start_luod()?;
    let kept = [Kept::add(host, "cache")?, Kept::add(host, "alice-cache")?];
    for it in &kept {
        it.write(host, 0)?;
    }
    join(host, &THREE, 0)?;
    subscribe(host, 0)?;
    example(host)?;
    for generation in 1..=count {
        let before = generation - 1;
        host.load(flavor)?;
        host.go()?;
        host.start_luod()?;
        let claim = published(host, before, "claim")?;
        host.await_word(&claim, "finished")?;
        ensure!(host.await_exit(&claim)? == Exit::Code(0));
        if flavor == Flavor::C {
            // Nobody has said DONE, and this kernel does not tell that the session is finished.
            host.succeed(&["luoctl", "discard", PUBLISHED, "--yes"])?;
        }
        let claim = format!("claim={before}");
        let crowd = host.spawn_as(BOB, &["crowd", "bob-x", CROWD, &claim])?;
        host.await_word(&crowd, &format!("done {CROWD}"))?;
        let services = come_back(host, &THREE, generation)?;
        are_whole(host, &services)?;
        for it in &kept {
            it.check(host, before)?;
            it.write(host, generation)?;
        }
        let guest = example(host)?;
        // It compares what its guest had counted when it was stopped with the guest's memory.
        host.await_word(&guest, "claimed at ")?;
        host.await_status("without sessions of the old kernel", |status| {
            status.sessions.is_empty()
        })?;
        let timeline: Timeline = host.luoctl_json(&["timeline"])?;
        ensure!(!timeline.spans.is_empty(), "{timeline:?}");
        subscribe(host, generation)?;
    }
    Ok(())
}

/// Those that claim and subscribe as two programs.
fn subscribe(host: &mut Host<'_, '_>, generation: u32) -> Result<()> {
    let client = published(host, generation, "carry")?;
    host.await_word(&client, "subscribed")?;
    let join = format!("join={generation}");
    let crowd = host.spawn_as(BOB, &["crowd", "bob-x", CROWD, &join])?;
    host.await_word(&crowd, "subscribed").map(drop)
}

/// The example goes on where the one before it has stopped, or begins.
fn example(host: &mut Host<'_, '_>) -> Result<Process> {
    let uid = BOB.to_string();
    let example = ["keeps-memory", "--id", EXAMPLE, "--mib", "4"];
    let guest = host.spawn(&[&["/init", "as", &uid], &example[..]].concat())?;
    host.await_word(&guest, "counting from ")?;
    host.await_status("with the example", |status| is_subscribed(status, EXAMPLE))?;
    Ok(guest)
}

/// The client in C. Its text differs from generation to generation.
fn published(host: &mut Host<'_, '_>, generation: u32, what: &str) -> Result<Process> {
    let (uid, text) = (
        ALICE.to_string(),
        format!("text of generation {generation}. "),
    );
    let client = ["luo-agent-client", SOCKET_PATH, PUBLISHED, what, &text];
    host.spawn(&[&["/init", "as", &uid], &client[..]].concat())
}
