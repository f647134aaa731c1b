// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The demonstration: a memcached, as the distribution packages it, stays full while the kernel under it is replaced.
//!
//! Its restart memory file (`-e`) is a memfd that live update carries over. A client on the host fills it, probes it all the
//! time, and reads everything back in the end; the blackout is what that client saw.

mod client;
mod probe;
mod result;
mod service;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cache,
    image::Image,
    machine::{Console, Kernel, Machine, MachineConfig, log_path},
    progress::Progress,
    scenario::Flavor,
    watch,
};

use probe::Probe;
use result::Phases;
use service::Service;

pub use result::{DemoResult, Phase};
pub use service::memory_mib;

/// The program that is carried over.
pub const MEMCACHED: &str = "/usr/bin/memcached";
/// What the kernel prints first.
const FIRST_LINE: &str = "Linux version";
/// How long the service may take to answer, and to be missed.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(30);
const KEXEC_TIMEOUT: Duration = Duration::from_secs(120);

/// What to show.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The bzImage; it is also the one that replaces itself.
    pub kernel: PathBuf,
    /// Whose live update it has.
    pub flavor: Flavor,
    /// How many keys are written.
    pub keys: u32,
    /// Nothing but the result is wanted: no progress.
    pub quiet: bool,
    /// Where the console log is kept; a folder of the cache otherwise.
    pub logs: Option<PathBuf>,
}

/// Runs the demonstration.
///
/// # Errors
/// When a step cannot be done at all. Lost keys and wrong values are no error of this function: they are in the result.
pub fn run(options: &DemoOptions) -> Result<DemoResult> {
    ensure!(
        Path::new(MEMCACHED).exists(),
        "{MEMCACHED} is missing; install the package memcached"
    );
    ensure!(options.keys > 0, "nothing to show without keys");
    let progress = Progress::new(options.quiet);

    progress.step("Building the guest's image and booting the first kernel");
    let (mut machine, cmdline) = boot(options)?;
    let before = machine.hello().clone();
    let port = machine.port(service::PORT)?;

    progress.step("Starting memcached on a memory file");
    let mut service = Service::start(&mut machine, options.keys)?;
    let probe = Probe::start(port);
    probe
        .wait_for_answer(SERVICE_TIMEOUT)
        .context("memcached does not answer")?;

    let written = progress.count("Writing keys", options.keys, |bar| {
        client::fill(port, options.keys, bar)
    })?;
    progress.step("Loading the next kernel, while the service runs");
    service.load_kernel(&mut machine, options.flavor.name(), &cmdline)?;

    progress.step("Stopping memcached, preserving its memory, replacing the kernel");
    let mut phases = Phases::start("stop of the service");
    service.stop(&mut machine)?;
    phases.next("preserve");
    service.preserve(&mut machine)?;
    phases.next("reboot to the first kernel line");
    let (left, lines_before) = (Instant::now(), machine.console().len());
    let after = service::kexec(&mut machine, KEXEC_TIMEOUT)?;
    phases.split(first_line(machine.console(), lines_before)?, "kernel boot");
    phases.next("device open");
    service.open_device(&mut machine)?;
    phases.next("retrieve");
    service.retrieve(&mut machine)?;
    phases.next("wait for memcached's clock");
    service.wait_for_clock(&mut machine)?;
    phases.next("service answering");
    service.start_again(&mut machine)?;
    probe
        .wait_for_answer_after(phases.last_start(), SERVICE_TIMEOUT)
        .context("memcached does not come back")?;

    let read = progress.count("Reading every key back", options.keys, |bar| {
        client::read_back(port, options.keys, bar)
    })?;
    progress.step("Finishing the session");
    service.finish(&mut machine)?;
    let blackout = probe.stop(left)?;
    progress.done();

    let lines = machine.console().lines();
    let trouble = watch::unexpected(lines.iter().map(|line| line.text.as_str()), &[]);
    Ok(DemoResult {
        implementation: options.flavor.name(),
        kernel_before: format!("{} {}", before.release, before.version),
        kernel_after: format!("{} {}", after.release, after.version),
        booted_anew: before.boot_id != after.boot_id,
        keys_written: options.keys,
        bytes_written: written.bytes,
        keys_kept: read.right,
        keys_lost: read.missing,
        wrong_values: read.wrong,
        blackout_ms: blackout.duration().as_secs_f64() * 1000.0,
        phases: phases.within(blackout),
        kernel_trouble: trouble.into_iter().map(str::to_owned).collect(),
        console_log: machine.console().log().to_owned(),
    })
}

fn boot(options: &DemoOptions) -> Result<(Machine, String)> {
    let mut image = Image::base()?;
    image.program(Path::new(MEMCACHED))?;
    let name = options.flavor.name();
    let logs = match &options.logs {
        Some(logs) => logs.clone(),
        None => cache::folder("logs")?,
    };
    let kernel = Kernel {
        name: name.into(),
        image: options.kernel.clone(),
    };
    let mut config = MachineConfig::new(
        vec![kernel],
        name,
        image.archive()?,
        log_path(&logs, &format!("demo-{name}")),
    );
    config.forwards.push(service::PORT);
    let cmdline = config.cmdline(name, &[])?;
    Ok((Machine::boot(&config)?, cmdline))
}

fn first_line(console: &Console, since: usize) -> Result<Instant> {
    let lines = console.since(since);
    let first = lines.iter().find(|line| line.text.contains(FIRST_LINE));
    first
        .map(|line| line.at)
        .with_context(|| console.report(&format!("the new kernel did not print \"{FIRST_LINE}\"")))
}
