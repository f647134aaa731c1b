// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Many small things: sessions, and files in one session.

use anyhow::Result;
use luo_guest::proto::{Bulk, Op, Timing};

use super::{
    Figure, Results, Work,
    stand::{DEVICE, Stand},
};
use crate::scenario::{Flavor, Lab};

/// Memory for 50,000 memfds with all that is preserved for each.
pub(super) const MEMORY_MIB: u32 = 4096;
/// C compares names with all others, so that what they have in common counts.
pub(super) const PREFIX: &str = "a-long-prefix-that-all-names-have-in-common-";
/// The group of all sessions or files.
pub(super) const GROUP: &str = "all";
/// The session of all files.
pub(super) const SESSION: &str = "files";

pub(super) fn sessions(lab: &Lab, flavor: Flavor, count: u32, results: &mut Results) -> Result<()> {
    let about = format!("{count} sessions");
    let mut stand = Stand::start(lab, flavor, &about, MEMORY_MIB)?;
    let mut add = |work, timing| {
        let figure = Figure::of_calls(work, flavor, timing);
        results.figures.push(figure);
    };
    add(Work::CreateSession, create_sessions(&mut stand, count)?);
    stand.kexec()?;
    // One call, for all sessions that it brings.
    let total_ns = stand.open_device()?;
    let opened = Timing {
        count,
        total_ns,
        tail_count: count,
        tail_ns: total_ns,
    };
    add(Work::OpenDevice, opened);
    let retrieve = Bulk::Retrieve {
        device: DEVICE.into(),
        prefix: PREFIX.into(),
        first: 0,
        count,
        group: GROUP.into(),
    };
    add(Work::RetrieveSession, stand.bulk(retrieve)?);
    let group = GROUP.into();
    add(Work::FinishSession, stand.bulk(Bulk::Finish { group })?);
    Ok(())
}

pub(super) fn files(lab: &Lab, flavor: Flavor, count: u32, results: &mut Results) -> Result<()> {
    let about = format!("{count} files");
    let mut stand = Stand::start(lab, flavor, &about, MEMORY_MIB)?;
    let mut add = |work, timing| {
        let figure = Figure::of_calls(work, flavor, timing);
        results.figures.push(figure);
    };
    add(Work::PreserveFile, preserve_files(&mut stand, count)?);
    stand.kexec()?;
    stand.open_device()?;
    stand.retrieve_session(SESSION)?;
    let retrieve = Bulk::RetrieveFds {
        session: SESSION.into(),
        count,
        group: GROUP.into(),
    };
    add(Work::RetrieveFile, stand.bulk(retrieve)?);
    Ok(())
}

/// Opens the device, and makes so many sessions.
pub(super) fn create_sessions(stand: &mut Stand, count: u32) -> Result<Timing> {
    stand.open_device()?;
    stand.bulk(Bulk::Create {
        device: DEVICE.into(),
        prefix: PREFIX.into(),
        first: 0,
        count,
        group: GROUP.into(),
    })
}

/// Opens the device, and preserves so many memfds of one page in one session.
pub(super) fn preserve_files(stand: &mut Stand, count: u32) -> Result<Timing> {
    stand.open_device()?;
    let (device, group) = (DEVICE.to_owned(), GROUP.to_owned());
    stand.bulk(Bulk::Memfds {
        count,
        group: group.clone(),
    })?;
    // Pages that happen to lie in KHO's scratch area have to be moved away; that is not what is measured.
    let group_for_now = group.clone();
    stand.call(Op::Bulk(Bulk::PreserveForNow {
        device,
        group: group_for_now,
    }))?;
    stand.create_session(SESSION)?;
    let session = SESSION.into();
    stand.bulk(Bulk::PreserveFds { session, group })
}
