// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Many calls of one kind, timed in the guest so that the host's link does not count.

use std::{
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    time::Instant,
};

use liveupdate::uapi;
use luo_guest::{
    pattern::Content,
    proto::{Bulk, Failure, MemfdSpec, Outcome, Pages, Reply, Timing},
};

use crate::{
    luo, memfd,
    slots::{Slots, other},
};

/// So many last calls are timed on their own: what one call costs once all others are there.
const TAIL: u32 = 100;

/// Files in a session that is closed again.
const FOR_NOW: usize = 500;

pub(crate) fn run(slots: &mut Slots, bulk: Bulk) -> Outcome {
    match bulk {
        Bulk::Create {
            device,
            prefix,
            first,
            count,
            group,
        } => sessions(
            slots,
            uapi::CREATE_SESSION,
            &device,
            &prefix,
            first,
            count,
            &group,
        ),
        Bulk::Retrieve {
            device,
            prefix,
            first,
            count,
            group,
        } => sessions(
            slots,
            uapi::RETRIEVE_SESSION,
            &device,
            &prefix,
            first,
            count,
            &group,
        ),
        Bulk::Memfds { count, group } => {
            let (files, timing) = timed(count, |i| memfd::create(&spec(i)).map(OwnedFd::from))?;
            slots.put_group(&group, files);
            Ok(timing)
        }
        Bulk::VerifyMemfds { group } => over(slots.group(&group)?, |i, file| {
            memfd::verify_fd(file, &spec(i)).map(drop)
        }),
        Bulk::PreserveFds { session, group } => {
            let (session, files) = (slots.get(&session)?.as_raw_fd(), slots.group(&group)?);
            over(files, |i, file| {
                luo::preserve(session, i.into(), file.as_raw_fd())
            })
        }
        Bulk::PreserveForNow { device, group } => {
            preserve_for_now(slots.get(&device)?.as_raw_fd(), slots.group(&group)?)
        }
        Bulk::RetrieveFds {
            session,
            count,
            group,
        } => {
            let session = slots.get(&session)?.as_raw_fd();
            let (files, timing) = timed(count, |i| luo::retrieve(session, i.into()))?;
            slots.put_group(&group, files);
            Ok(timing)
        }
        Bulk::Finish { group } => over(slots.group(&group)?, |_, session| {
            luo::finish(session.as_raw_fd())
        }),
        Bulk::Close { group } => {
            let mut fds = slots.take_group(&group)?.into_iter();
            let count = u32::try_from(fds.len()).map_err(|_| other("too many descriptors"))?;
            timed(count, |_| {
                drop(fds.next());
                Ok(())
            })
            .map(|(_, timing)| timing)
        }
    }
}

/// The content of memfd number `i`.
fn spec(i: u32) -> MemfdSpec {
    MemfdSpec {
        content: Content::full(i.into(), 4096),
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    }
}

fn sessions(
    slots: &mut Slots,
    command: u32,
    device: &str,
    prefix: &str,
    first: u32,
    count: u32,
    group: &str,
) -> Outcome {
    let device = slots.get(device)?.as_raw_fd();
    // Names are made beforehand: formatting them is not what is measured.
    let names: Vec<_> = (first..first + count)
        .map(|i| format!("{prefix}{i:06}"))
        .collect();
    let (fds, timing) = timed(count, |i| luo::session(device, command, &names[i as usize]))?;
    slots.put_group(group, fds);
    Ok(timing)
}

/// Not in one session: C compares a token with all others of its session.
fn preserve_for_now(device: RawFd, files: &[OwnedFd]) -> Outcome {
    for (number, files) in files.chunks(FOR_NOW).enumerate() {
        let name = format!("for now {number}");
        let session = luo::session(device, uapi::CREATE_SESSION, &name)?;
        for (token, file) in (0..).zip(files) {
            luo::preserve(session.as_raw_fd(), token, file.as_raw_fd())?;
        }
    }
    Ok(Reply::Done)
}

fn over(fds: &[OwnedFd], mut call: impl FnMut(u32, &OwnedFd) -> Result<(), Failure>) -> Outcome {
    let count = u32::try_from(fds.len()).map_err(|_| other("too many descriptors"))?;
    timed(count, |i| call(i, &fds[i as usize])).map(|(_, timing)| timing)
}

fn timed<T>(
    count: u32,
    mut call: impl FnMut(u32) -> Result<T, Failure>,
) -> Result<(Vec<T>, Reply), Failure> {
    let tail_count = TAIL.min(count);
    let mut results = Vec::with_capacity(count as usize);
    let started = Instant::now();
    let mut tail_started = started;
    for i in 0..count {
        if i == count - tail_count {
            tail_started = Instant::now();
        }
        let result = call(i).map_err(|failure| Failure {
            message: format!("number {i}: {}", failure.message),
            ..failure
        })?;
        results.push(result);
    }
    let ended = Instant::now();
    let timing = Timing {
        count,
        total_ns: (ended - started).as_nanos() as u64,
        tail_count,
        tail_ns: (ended - tail_started).as_nanos() as u64,
    };
    Ok((results, Reply::Timing(timing)))
}
