// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The barrier before the reboot: who can stop an update, and that everything is as it was afterwards. Then an update that goes
//! through, and who gets what back.

use anyhow::{Result, ensure};
use luo_guest::proto::Exit;
use luod::protocol::Id;

use super::{
    host::{Host, Process},
    services::{ALICE, BOB, THREE, are_whole, come_back, end, go_on, is_subscribed, join, start},
};
use crate::scenario::Flavor;

/// luoctl's exit codes.
const PROBLEMS: i32 = 3;
const CANCELLED: i32 = 4;

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor) -> Result<()> {
    host.start_luod()?;
    let services = join(host, &THREE, 0)?;

    // Without a kernel to go into nobody is asked.
    let refused = host.stay(&[], "no next kernel")?;
    ensure!(refused.code == PROBLEMS, "{refused:?}");
    host.load(flavor)?;
    not_for_everybody(host)?;
    nobody_was_asked(host, &services[0].process)?;

    host.rehearse()?;
    go_on(host, &services, 1)?;
    veto(host)?;
    go_on(host, &services, 2)?;
    death(host)?;
    go_on(host, &services, 3)?;
    let silent = start(host, "alice-4", &["join=0", "answer=silent"])?;
    host.await_word(&silent.process, "subscribed")?;
    host.stay(&["--timeout", "2"], "alice-4")?;
    go_on(host, &services, 4)?;
    host.await_word(&silent.process, "cancelled")?;
    cancel(host)?;
    go_on(host, &services, 5)?;
    end(host, &[silent])?;

    let spoiled = start(host, "bob-3", &["join=0", "answer=spoiled"])?;
    host.await_word(&spoiled.process, "subscribed")?;
    host.go()?;

    host.start_luod()?;
    claims_of_others(host)?;
    // A test that could not fail would be none.
    let claim = start(host, "bob-3", &["claim=0"])?;
    host.await_word(&claim.process, "wrong data")?;
    ensure!(host.await_exit(&claim.process)? == Exit::Code(1));
    // What nobody wants any more.
    let said = host.luoctl(&["discard", "bob-3", "--yes"])?;
    ensure!(said.code == 0, "{said:?}");
    let services = come_back(host, &THREE, 1)?;
    are_whole(host, &services)?;
    host.await_status("without sessions of the old kernel", |status| {
        status.sessions.is_empty()
    })?;
    host.stay(&["--dry-run"], "no next kernel").map(drop)
}

/// Only operators update; ids have their owners.
fn not_for_everybody(host: &mut Host<'_, '_>) -> Result<()> {
    let alice = ALICE.to_string();
    let said = host.run(&["/init", "as", &alice, "luoctl", "update"])?;
    ensure!(said.code != 0, "alice may update the kernel: {said:?}");
    let bobs = host.spawn_as(BOB, &["service", "alice-9", "join=0"])?;
    ensure!(host.await_exit(&bobs)? == Exit::Code(1));
    ensure!(host.read(&bobs.log)?.contains("alice-9"));
    ensure!(!is_subscribed(&host.status()?, "alice-9"));
    Ok(())
}

fn nobody_was_asked(host: &mut Host<'_, '_>, service: &Process) -> Result<()> {
    let said = host.read(&service.log)?;
    ensure!(!said.contains("asked"), "a service was asked:\n{said}");
    Ok(())
}

fn veto(host: &mut Host<'_, '_>) -> Result<()> {
    let vetoer = start(host, "alice-3", &["join=0", "answer=veto"])?;
    host.await_word(&vetoer.process, "subscribed")?;
    let said = host.stay(&[], "a request of a guest is under way")?;
    let text = format!("{}{}", said.stdout, said.stderr);
    ensure!(text.contains("alice-3"), "who? {said:?}");
    ensure!(said.code == CANCELLED, "{said:?}");
    end(host, &[vetoer])
}

fn death(host: &mut Host<'_, '_>) -> Result<()> {
    let mortal = start(host, "bob-2", &["join=0", "answer=die"])?;
    host.await_word(&mortal.process, "subscribed")?;
    host.stay(&[], "bob-2")?;
    ensure!(host.await_exit(&mortal.process)? == Exit::Signal(libc::SIGKILL));
    Ok(())
}

/// The operator has had enough of one that never answers.
fn cancel(host: &mut Host<'_, '_>) -> Result<()> {
    let update = host.spawn(&["luoctl", "update", "--timeout", "600"])?;
    host.await_status("waiting for the silent one alone", |status| {
        let waiting: Vec<_> = status.update.waiting.iter().map(Id::as_str).collect();
        waiting == ["alice-4"]
    })?;
    let said = host.luoctl(&["cancel"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(host.await_exit(&update)? == Exit::Code(CANCELLED));
    Ok(())
}

/// A session is its owner's alone, whatever the policy says now.
fn claims_of_others(host: &mut Host<'_, '_>) -> Result<()> {
    let bobs = host.spawn_as(BOB, &["service", "alice-1", "claim=0"])?;
    ensure!(host.await_exit(&bobs)? == Exit::Code(1));
    let log = host.luods_log()?;
    let logged = log
        .lines()
        .any(|line| line.contains("alice-1") && line.contains(&BOB.to_string()));
    ensure!(
        logged,
        "luod has not logged that bob claimed alice-1:\n{log}"
    );
    Ok(())
}
