// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What live update costs, in guest instructions, C and Rust in one run.
//!
//! The machine's clock counts instructions, so that a figure does not depend on the host and repeats to a fraction of a
//! percent. Each measurement has a machine of its own: make the things, kexec into the same kernel, get them back.

mod table;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use luo_guest::proto::{Bulk, LoadMethod, Op, Reply, Timing};
use serde::Serialize;

use crate::{
    machine::{Clock, INITRD, Machine, MachineConfig},
    scenario::{Flavor, Lab},
};

/// A quadratic cost is a matter of minutes in the guest, and of hours on the host.
const STEP_TIMEOUT: Duration = Duration::from_secs(1200);
/// C compares names with all others, so that what they have in common counts.
const PREFIX: &str = "a-long-prefix-that-all-names-have-in-common-";
/// Beyond this, C's quadratic cost takes longer than a person waits: 5,000 sessions are 3 seconds of guest CPU, 50,000 would be 300.
pub const C_LIMIT: u32 = 5_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// `CREATE_SESSION`.
    CreateSession,
    /// `RETRIEVE_SESSION`, after the device is open.
    RetrieveSession,
    /// `FINISH` of a session.
    FinishSession,
    /// `PRESERVE_FD` of a one-page memfd.
    PreserveFile,
    /// `RETRIEVE_FD` of it.
    RetrieveFile,
    /// Opening the device for the first time, for each session it brings.
    OpenDevice,
}

/// The cost of so many calls.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was called.
    pub work: Work,
    /// By which implementation.
    pub flavor: Flavor,
    /// How often.
    pub count: u32,
    /// Guest instructions for all calls.
    pub total: u64,
    /// Guest instructions for one call, on average.
    pub mean: u64,
    /// Guest instructions for one of the last calls, when all others are there.
    pub last: u64,
}

impl Figure {
    fn new(work: Work, flavor: Flavor, timing: Timing) -> Self {
        Self {
            work,
            flavor,
            count: timing.count,
            total: timing.total_ns,
            mean: timing.total_ns / u64::from(timing.count.max(1)),
            last: timing.tail_ns / u64::from(timing.tail_count.max(1)),
        }
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    /// In the order of measurement.
    pub figures: Vec<Figure>,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// How many sessions or files.
    pub sizes: Vec<u32>,
    /// Called before each measurement with what comes.
    pub progress: fn(&str),
}

/// Measures all kernels of the lab.
///
/// # Errors
/// When a machine does not do what is asked of it.
pub fn run(lab: &Lab, options: &BenchOptions) -> Result<Results> {
    let mut results = Results::default();
    for &count in &options.sizes {
        for &flavor in lab.kernels.keys() {
            if flavor == Flavor::C && count > C_LIMIT {
                continue;
            }
            (options.progress)(&format!("{} sessions and files, {}", count, flavor.name()));
            Run::start(lab, flavor, count)?.sessions(&mut results)?;
            Run::start(lab, flavor, count)?.files(&mut results)?;
        }
    }
    Ok(results)
}

struct Run {
    machine: Machine,
    config: MachineConfig,
    flavor: Flavor,
    count: u32,
}

impl Run {
    fn start(lab: &Lab, flavor: Flavor, count: u32) -> Result<Self> {
        let about = format!("bench {} {count}", flavor.name());
        let mut config = lab.machine(&about, &[flavor], flavor)?;
        config.clock = Clock::Instructions;
        config.memory_mib = 4096;
        let machine = Machine::boot(&config)?;
        Ok(Self {
            machine,
            config,
            flavor,
            count,
        })
    }

    fn sessions(mut self, results: &mut Results) -> Result<()> {
        let (prefix, count) = (PREFIX.to_owned(), self.count);
        let (device, group) = ("device".to_owned(), "sessions".to_owned());
        self.open_device()?;
        let create = Bulk::Create {
            device: device.clone(),
            prefix: prefix.clone(),
            first: 0,
            count,
            group: group.clone(),
        };
        results
            .figures
            .push(self.measure(Work::CreateSession, create)?);
        self.kexec()?;
        let opened = self.open_device()?;
        results
            .figures
            .push(Figure::new(Work::OpenDevice, self.flavor, opened));
        let retrieve = Bulk::Retrieve {
            device,
            prefix,
            first: 0,
            count,
            group: group.clone(),
        };
        results
            .figures
            .push(self.measure(Work::RetrieveSession, retrieve)?);
        results
            .figures
            .push(self.measure(Work::FinishSession, Bulk::Finish { group })?);
        Ok(())
    }

    fn files(mut self, results: &mut Results) -> Result<()> {
        let (device, session) = ("device".to_owned(), "session".to_owned());
        let (name, count) = ("files".to_owned(), self.count);
        self.open_device()?;
        self.call(Op::CreateSession {
            device: device.clone(),
            name: name.clone(),
            slot: session.clone(),
        })?;
        self.call(Op::Bulk(Bulk::Memfds {
            count,
            group: "files".into(),
        }))?;
        let preserve = Bulk::PreserveFds {
            session: session.clone(),
            group: "files".into(),
        };
        results
            .figures
            .push(self.measure(Work::PreserveFile, preserve)?);
        self.kexec()?;
        self.open_device()?;
        self.call(Op::RetrieveSession {
            device,
            name,
            slot: session.clone(),
        })?;
        let retrieve = Bulk::RetrieveFds {
            session,
            count,
            group: "files".into(),
        };
        results
            .figures
            .push(self.measure(Work::RetrieveFile, retrieve)?);
        Ok(())
    }

    /// Opens the device; the cost is for all sessions that it brings.
    fn open_device(&mut self) -> Result<Timing> {
        let answer = self.machine.call(
            Op::OpenDevice {
                slot: "device".into(),
            },
            STEP_TIMEOUT,
        )?;
        answer
            .value
            .map_err(|failure| anyhow::anyhow!("{}", failure.message))?;
        let total_ns = answer.guest_ns.context("the agent gives no time")?;
        Ok(Timing {
            count: self.count,
            total_ns,
            tail_count: self.count,
            tail_ns: total_ns,
        })
    }

    fn kexec(&mut self) -> Result<()> {
        let name = self.flavor.name();
        let cmdline = self.config.cmdline(name, &[])?;
        let method = LoadMethod::File;
        self.call(Op::KexecLoad {
            kernel: name.into(),
            initrd: INITRD.into(),
            cmdline,
            method,
        })?;
        let refused = self.machine.kexec(STEP_TIMEOUT)?.err();
        refused.map_or(Ok(()), |failure| {
            bail!("the kernel refuses the kexec: {}", failure.message)
        })
    }

    fn call(&mut self, op: Op) -> Result<Reply> {
        let outcome = self.machine.call(op, STEP_TIMEOUT)?.value;
        outcome.map_err(|failure| anyhow::anyhow!("errno {}: {}", failure.errno, failure.message))
    }

    fn measure(&mut self, work: Work, bulk: Bulk) -> Result<Figure> {
        match self.call(Op::Bulk(bulk))? {
            Reply::Timing(timing) => Ok(Figure::new(work, self.flavor, timing)),
            other => bail!("no timing: {other:?}"),
        }
    }
}

/// The kernels and the initial ramdisk of a benchmark.
///
/// # Errors
/// When the guest's init cannot be built.
pub fn lab(c: PathBuf, rust: PathBuf) -> Result<Lab> {
    Ok(Lab {
        kernels: [(Flavor::C, c), (Flavor::Rust, rust)].into(),
        initrd: crate::image::Image::base()?.archive()?,
        logs: crate::scenario::default_logs()?,
        extra_cmdline: "quiet".into(),
    })
}
