// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Services of two users, who find their data after an update.

use anyhow::{Result, ensure};
use luo_guest::proto::Exit;
use luod::protocol::Status;

use super::host::{Host, Process};

/// As in the machine's account file. By luod's policy an id that begins with a user's name is that user's.
pub(super) const ALICE: u32 = 1000;
pub(super) const BOB: u32 = 1001;
/// Three services of two users.
pub(super) const THREE: [&str; 3] = ["alice-1", "alice-2", "bob-1"];

/// A running service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) id: &'static str,
    pub(super) process: Process,
}

/// Whose an id is.
pub(super) fn owner(id: &str) -> u32 {
    match id.split_once('-') {
        Some(("alice", _)) => ALICE,
        Some(("bob", _)) => BOB,
        _ => 0,
    }
}

/// Starts a service, with more words.
pub(super) fn start(host: &mut Host<'_, '_>, id: &'static str, words: &[&str]) -> Result<Service> {
    let process = host.spawn_as(owner(id), &[&["service", id], words].concat())?;
    Ok(Service { id, process })
}

/// Starts services that take part in updates, and waits until luod knows of them.
pub(super) fn join(
    host: &mut Host<'_, '_>,
    ids: &[&'static str],
    generation: u32,
) -> Result<Vec<Service>> {
    let join = format!("join={generation}");
    let services: Vec<_> = ids
        .iter()
        .map(|id| start(host, id, &[&join]))
        .collect::<Result<_>>()?;
    for service in &services {
        host.await_word(&service.process, "subscribed")?;
    }
    Ok(services)
}

/// Starts them in the next kernel: each compares what the generation before has left, and joins the next update.
pub(super) fn come_back(
    host: &mut Host<'_, '_>,
    ids: &[&'static str],
    generation: u32,
) -> Result<Vec<Service>> {
    let (claim, join) = (
        format!("claim={}", generation - 1),
        format!("join={generation}"),
    );
    ids.iter()
        .map(|id| start(host, id, &[&claim, &join]))
        .collect()
}

/// Each has found all that it had left.
pub(super) fn are_whole(host: &mut Host<'_, '_>, services: &[Service]) -> Result<()> {
    for service in services {
        let said = host.await_word(&service.process, "subscribed")?;
        ensure!(
            said.contains("verified") && said.contains("done"),
            "{} has not got its files back:\n{said}",
            service.id
        );
    }
    Ok(())
}

/// Each has heard so often that an update is called off, has closed its session, and has all its data.
pub(super) fn go_on(host: &mut Host<'_, '_>, services: &[Service], times: usize) -> Result<()> {
    for service in services {
        host.await_words(&service.process, "cancelled", times)?;
    }
    Ok(())
}

/// Kills services, and waits until luod knows.
pub(super) fn end(host: &mut Host<'_, '_>, services: &[Service]) -> Result<()> {
    for service in services {
        host.kill(&service.process)?;
        ensure!(
            host.await_exit(&service.process)? == Exit::Signal(libc::SIGKILL),
            "{} has ended before",
            service.id
        );
        host.await_status("rid of a client that is dead", |status| {
            !is_subscribed(status, service.id)
        })?;
    }
    Ok(())
}

/// Whether luod knows of a service.
pub(super) fn is_subscribed(status: &Status, id: &str) -> bool {
    let ids = status.clients.iter().flat_map(|client| &client.ids);
    ids.into_iter().any(|it| it.as_str() == id)
}
