// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What live update costs, in guest instructions, C and Rust in one run.
//!
//! The machine's clock counts instructions, so that a figure does not depend on the host and repeats to a fraction of a
//! percent. Each measurement has a machine of its own: make the things, kexec into the same kernel, get them back.

mod agent;
mod blackout;
mod boot;
mod calls;
mod compare;
mod figure;
mod freeze;
mod job;
mod landing;
mod memory;
mod phases;
mod plot;
mod stand;
mod table;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    progress::Progress,
    scenario::{Flavor, Lab},
};

pub use blackout::{Phase, Unit};
pub use boot::{C_FRAGMENTED_LIMIT_MIB, Layout};
pub use compare::Difference;
pub use figure::{
    BlackoutFigure, BootFigure, Figure, FreezeFigure, MemoryFigure, PhasesFigure, Results, Work,
};
pub use freeze::Frozen;
pub use job::{C_SESSIONS_LIMIT, Part};
pub use memory::Folio;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Which parts, in this order.
    pub parts: Vec<Part>,
    /// How many sessions or files.
    pub counts: Vec<u32>,
    /// How large a memfd, in MiB.
    pub sizes_mib: Vec<u32>,
}

/// Measures all kernels of the lab. What has been measured before something goes wrong is in the results.
///
/// # Errors
/// When a machine does not do what is asked of it.
pub fn run(lab: &Lab, options: &BenchOptions, results: &mut Results) -> Result<()> {
    let flavors: Vec<_> = lab.kernels.keys().copied().collect();
    let jobs = job::plan(options, &flavors);
    let progress = Progress::new(false);
    for (number, job) in (1..).zip(&jobs) {
        progress.step(&format!("{number:2} of {}: {job}", jobs.len()));
        job.run(lab, results)
            .with_context(|| format!("while measuring {job}"))?;
    }
    progress.done();
    Ok(())
}

/// These kernels, the initial ramdisks that these parts of a benchmark need, and what is appended to all command lines.
///
/// # Errors
/// When a program of the guest's cannot be built.
pub fn lab(kernels: BTreeMap<Flavor, PathBuf>, parts: &[Part], cmdline: &str) -> Result<Lab> {
    let mut image = crate::image::Image::base()?;
    let initrd = image.archive()?;
    let mut agent_initrd = Vec::new();
    if parts.contains(&Part::Agent) {
        image.agent()?;
        agent_initrd = image.archive()?;
    }
    Ok(Lab {
        kernels,
        initrd,
        agent_initrd,
        systemd_initrd: Vec::new(),
        logs: crate::scenario::default_logs()?,
        extra_cmdline: cmdline.to_owned(),
    })
}
