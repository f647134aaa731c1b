// SPDX-License-Identifier: Apache-2.0 OR MIT

//! luod as a service of systemd, which carries the sessions in luod's descriptor store over a kexec itself.

use anyhow::{Context as _, Result, ensure};
use luod::protocol::{SessionReport, SessionState, Timeline};

use super::{
    host::Host,
    kept::Kept,
    services::{THREE, are_whole, come_back, is_subscribed, join},
};
use crate::{
    image::systemd::{CLIENT, CLIENT_LOG},
    scenario::Flavor,
};

/// The second goes out of a kernel into which the first has come.
const UPDATES: u32 = 2;

pub(super) fn run(host: &mut Host<'_, '_>, flavor: Flavor) -> Result<()> {
    host.await_luod()?;
    is_in_its_sandbox(host)?;
    let kept = Kept::add(host, "alice-cache")?;
    kept.write(host, 0)?;
    kill_luod(host)?;
    kept.check(host, 0)?;
    join(host, &THREE, 0)?;
    start_client(host, "join=0")?;
    for generation in 1..=UPDATES {
        let before = generation - 1;
        host.load(flavor)?;
        host.go_through_shutdown()?;
        host.await_luod()?;
        are_waiting(host)?;
        if generation == 1 {
            // What would be refused when everything is shut down already must not begin, whoever insists.
            host.stay(&["--force"], "shut down")?;
            kill_luod(host)?;
            are_stored(host, THREE.len() + 2)?;
        }
        let services = come_back(host, &THREE, generation)?;
        let said = start_client(host, &format!("claim={before} join={generation}"))?;
        ensure!(said.contains("verified") && said.contains("done"), "{said}");
        are_whole(host, &services)?;
        kept.check(host, before)?;
        kept.write(host, generation)?;
        host.await_status("without sessions of the old kernel", |status| {
            status.sessions.is_empty()
        })?;
        // The kept file; nothing piles up from kernel to kernel.
        are_stored(host, 1)?;
    }
    // A luod that has seen all claims knows how long they took.
    let timeline: Timeline = host.luoctl_json(&["timeline"])?;
    let claims = timeline.spans.last().context("an empty timeline")?;
    ensure!(claims.ms > 0.0, "{timeline:?}");
    Ok(())
}

/// What its unit says of system calls is in force, which systemd leaves out where it cannot be.
fn is_in_its_sandbox(host: &mut Host<'_, '_>) -> Result<()> {
    let pid = property(host, "MainPID")?;
    let status = host.read(&format!("/proc/{pid}/status"))?;
    let mut lines = status.lines();
    ensure!(lines.any(|it| it == "Seccomp:\t2"), "{status}");
    Ok(())
}

/// systemd has retrieved a session of each client before luod could, and says whose they are by nothing but their names in the
/// store.
fn are_waiting(host: &mut Host<'_, '_>) -> Result<()> {
    let status = host.status()?;
    let clients = THREE.len() + 1;
    let waiting = |it: &&SessionReport| it.state == SessionState::Waiting;
    ensure!(
        status.sessions.iter().filter(waiting).count() == clients,
        "{status:#?}"
    );
    are_stored(host, clients + 1)
}

/// So many descriptors are in luod's store.
fn are_stored(host: &mut Host<'_, '_>, count: usize) -> Result<()> {
    let stored = property(host, "NFileDescriptorStore")?;
    ensure!(
        stored == count.to_string(),
        "there are {stored} descriptors in luod's store, not {count}"
    );
    Ok(())
}

/// systemd starts luod again, with what is in its store.
fn kill_luod(host: &mut Host<'_, '_>) -> Result<()> {
    let killed = property(host, "MainPID")?;
    host.succeed(&["systemctl", "kill", "--signal=KILL", "luod.service"])?;
    host.await_luod()?;
    let started = property(host, "MainPID")?;
    ensure!(started != killed, "luod has not been killed");
    Ok(())
}

fn property(host: &mut Host<'_, '_>, name: &str) -> Result<String> {
    let show = ["systemctl", "show", "--property", name, "--value"];
    let said = host.succeed(&[&show[..], &["luod.service"]].concat())?;
    Ok(said.trim().to_owned())
}

/// Starts the client that is a service itself, and waits until luod knows of it. Gives what it has said.
fn start_client(host: &mut Host<'_, '_>, words: &str) -> Result<String> {
    host.succeed(&["systemctl", "set-environment", &format!("WORDS={words}")])?;
    host.succeed(&["systemctl", "start", CLIENT])?;
    host.await_status("with the client that is a service", |status| {
        is_subscribed(status, CLIENT)
    })?;
    host.read(CLIENT_LOG)
        .with_context(|| format!("what {CLIENT} says"))
}
