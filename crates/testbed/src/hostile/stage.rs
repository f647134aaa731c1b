// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The moments of a live update at which its bytes are corrupted: before the next kernel has read anything, before its LUO has,
//! and when its agent is about to ask for everything.

use std::{fs, path::Path, process, time::Duration};

use anyhow::{Context as _, Result, bail};
use luo_guest::proto::{
    LoadMethod, Op, Outcome, Reply,
    survey::{Sought, Survey},
};
use serde::Serialize;
use tempfile::TempDir;

use super::goods;
use crate::{
    machine::{
        INITRD, Machine,
        snapshot::{Patch, Snapshot, Source},
    },
    scenario::{Flavor, Lab},
    symbols::Symbols,
};

/// Without randomness in addresses, with a console for warnings, and with an end where the kernel has lost its way. On a busy
/// host the timer's interrupts come later than the kernel's check of them allows.
pub(crate) const CMDLINE: &str = "nokaslr loglevel=5 oops=panic no_timer_check";
/// All of it is below the hole for devices, so that a file's offset is a physical address.
pub(crate) const MEMORY_MIB: u32 = 512;
/// What a boot or an operation takes when the host is very busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// A kernel that computes for so long will not end: all together takes less than three seconds.
const PROCESSOR_TIME: Duration = Duration::from_secs(40);
/// Where the agent finds what it is to preserve, and to ask for.
pub(super) const LIST: &str = "/etc/handover";
/// The function in which KHO finds it.
const KHO_FIRST_LOOK: &str = "kho_populate";
/// The functions in which the implementations find what the previous kernel left.
const FIRST_LOOK: [&str; 2] = ["luo_rust_early_init", "liveupdate_early_init"];

/// When bytes are corrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// The next kernel boots, and has read nothing.
    First,
    /// KHO has read what is its, LUO nothing.
    Early,
    /// The next kernel's agent is up, and has asked for nothing.
    Late,
}

/// A live update that can be gone through as often as one likes.
#[derive(Debug)]
pub(super) struct Stage {
    first: Snapshot,
    early: Snapshot,
    late: Snapshot,
    sought: Vec<Sought>,
    _folder: TempDir,
}

impl Stage {
    /// Makes a handover, and keeps all moments of the kexec.
    pub(super) fn prepare(lab: &Lab, flavor: Flavor) -> Result<Self> {
        let folder = folder()?;
        let about = format!("hostile {}", flavor.name());
        let sought = goods::all();
        let mut config = lab.machine(&about, &[flavor], flavor)?;
        config.memory_mib = MEMORY_MIB;
        config.processors = 1;
        config.extra_cmdline = format!("{} {CMDLINE}", config.extra_cmdline).trim().into();
        let image = lab.kernels.get(&flavor).context("no such kernel")?;
        let symbols = Symbols::of(image)?;
        let places = [
            ("first", symbols.address(&[KHO_FIRST_LOOK])?),
            ("early", first_look(&symbols)?),
        ];
        let mut source = Source::boot(&config, folder.path())?;
        call(&mut source.machine, Op::PreserveAll { list: LIST.into() })?;
        let load = Op::KexecLoad {
            kernel: flavor.name().into(),
            initrd: INITRD.into(),
            cmdline: config.cmdline(flavor.name(), &[])?,
            method: LoadMethod::File,
        };
        call(&mut source.machine, load)?;
        let [first, early] = source.keep_at(places, PATIENCE)?;
        source.machine.wait_until_ready(PATIENCE)?;
        let late = source.keep("late")?;
        Ok(Self {
            first,
            early,
            late,
            sought,
            _folder: folder,
        })
    }

    /// The sessions that were handed over.
    pub(super) fn sought(&self) -> &[Sought] {
        &self.sought
    }

    /// Physical memory as the previous kernel left it, also where that matters to KHO alone.
    pub(super) fn memory(&self) -> &Path {
        &self.first.memory
    }

    /// Starts a machine at a moment, with these bytes in its memory. From early on it has yet to boot.
    pub(super) fn resume(&self, moment: Moment, patches: &[Patch], log: &Path) -> Result<Machine> {
        let snapshot = match moment {
            Moment::First => &self.first,
            Moment::Early => &self.early,
            Moment::Late => &self.late,
        };
        let machine = snapshot.resume(patches, log)?;
        machine.limit_processor_time(PROCESSOR_TIME)?;
        Ok(machine)
    }

    /// Has the agent of a resumed machine fetch everything.
    pub(super) fn survey(&self, machine: &mut Machine, moment: Moment) -> Result<Survey> {
        if moment != Moment::Late {
            machine.wait_until_ready(PATIENCE)?;
        }
        match call(machine, Op::Survey { list: LIST.into() })? {
            Reply::Survey(survey) => Ok(survey),
            other => bail!("no survey: {other:?}"),
        }
    }
}

/// Where the host has a place for files in memory: a machine that writes to a disk's file waits for the disk.
const IN_MEMORY: &str = "/dev/shm";
/// Folders are called this, and then for the process that made them.
const PREFIX: &str = "luo-hostile-";

pub(crate) fn folder() -> Result<TempDir> {
    remove_what_is_left();
    let prefix = format!("{PREFIX}{}-", process::id());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    builder
        .tempdir_in(IN_MEMORY)
        .or_else(|_| builder.tempdir())
        .context("cannot make a temporary folder")
}

/// A process that was killed has left its folder, which is memory. That it cannot be removed is no reason not to go on.
fn remove_what_is_left() {
    let entries = fs::read_dir(IN_MEMORY).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some((process, _)) = owner.and_then(|owner| owner.split_once('-'))
            && !Path::new("/proc").join(process).exists()
        {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

pub(crate) fn call(machine: &mut Machine, op: Op) -> Result<Reply> {
    let what = format!("{op:.60?}");
    let outcome: Outcome = machine.call(op, PATIENCE)?.value;
    outcome
        .map_err(|failure| anyhow::anyhow!("{what}: errno {}: {}", failure.errno, failure.message))
}

/// The virtual address at which LUO first looks at a handover.
pub(crate) fn first_look(symbols: &Symbols) -> Result<u64> {
    symbols.address(&FIRST_LOOK)
}
