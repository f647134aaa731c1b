// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The demonstration: a memcached, as the distribution packages it, stays full while the kernel under it is replaced.
//!
//! Its restart memory file (`-e`) is one that luod keeps; what an operator does is `luoctl`. A client on the host fills it, probes
//! it all the time, and reads everything back after each update; the blackout is what that client saw.

mod client;
mod probe;
mod result;
mod service;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::Hello;

use crate::{
    cache,
    image::Image,
    machine::{Console, Kernel, Machine, MachineConfig, log_path},
    operator::Operator as _,
    progress::Progress,
    scenario::Flavor,
    watch,
};

use probe::Probe;
use result::Phases;
use service::Service;

pub use result::{DemoResult, Phase, Update};
pub use service::memory_mib;

/// The program that is carried over.
pub const MEMCACHED: &str = "/usr/bin/memcached";
/// What the kernel prints first.
const FIRST_LINE: &str = "Linux version";
/// How long the service may take to answer, and to be missed.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// What to show.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The bzImage; it is also the one that replaces itself.
    pub kernel: PathBuf,
    /// Whose live update it has.
    pub flavor: Flavor,
    /// How many keys are written.
    pub keys: u32,
    /// How many updates there are, one after the other.
    pub updates: u32,
    /// Nothing but the result is wanted: no progress.
    pub quiet: bool,
    /// Where the console log is kept; a folder of the cache otherwise.
    pub logs: Option<PathBuf>,
}

/// Runs the demonstration. It ends with the first update that loses something.
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

    progress.step("Starting luod, and memcached on a file that luod keeps");
    let service = Service::start(&mut machine, options.keys)?;
    let probe = Probe::start(port);
    probe
        .wait_for_answer(SERVICE_TIMEOUT)
        .context("memcached does not answer")?;
    let written = progress.count("Writing keys", options.keys, |bar| {
        client::fill(port, options.keys, bar)
    })?;

    let mut show = Show {
        options,
        progress: &progress,
        machine,
        cmdline,
        service,
        probe: &probe,
        port,
    };
    let mut updates = Vec::new();
    for number in 1..=options.updates {
        updates.push(show.update(number)?);
        if !updates.iter().all(|update| update.is_good(options.keys)) {
            break;
        }
    }
    progress.done();

    let console = show.machine.console();
    let lines = console.lines();
    let trouble = watch::unexpected(lines.iter().map(|line| line.text.as_str()), &[]);
    Ok(DemoResult {
        implementation: options.flavor.name(),
        kernel_before: kernel(&before),
        kernel_after: kernel(show.machine.hello()),
        keys_written: options.keys,
        bytes_written: written.bytes,
        updates_wanted: options.updates,
        updates,
        kernel_trouble: trouble.into_iter().map(str::to_owned).collect(),
        console_log: console.log().to_owned(),
    })
}

/// What is on stage.
struct Show<'a> {
    options: &'a DemoOptions,
    progress: &'a Progress,
    machine: Machine,
    cmdline: String,
    service: Service,
    probe: &'a Probe,
    port: u16,
}

impl Show<'_> {
    /// One update, and every key after it.
    fn update(&mut self, number: u32) -> Result<Update> {
        let (options, machine) = (self.options, &mut self.machine);
        let which = match options.updates {
            1 => String::new(),
            of => format!("Update {number} of {of}: "),
        };
        let say = |what: &str| self.progress.step(&format!("{which}{what}"));
        say("luoctl load, while the service runs");
        machine.load(options.flavor.name(), &self.cmdline)?;

        say("stopping memcached, luoctl update");
        let before = machine.hello().boot_id.clone();
        let mut phases = Phases::start("stop of the service");
        self.service.stop(machine)?;
        phases.next("luod preserves");
        let (left, lines_before) = (Instant::now(), machine.console().len());
        let after = service::update(machine)?;
        let first_line = first_line(machine.console(), lines_before)?;
        let here = Instant::now();
        service::start_luod(machine)?;
        let restored = Instant::now();
        // The host does not see when luod has called reboot(2); luod in the next kernel knows.
        let preserving = service::preserving(machine)?;
        phases.split(
            (left + preserving).min(first_line),
            "reboot to the first kernel line",
        );
        phases.split(first_line, "kernel boot");
        phases.split(here, "luod restores");
        phases.split(restored, "wait for memcached's clock");
        self.service.wait_for_clock(machine)?;
        phases.next("service answering");
        self.service.start_again(machine)?;
        self.probe
            .wait_for_answer_after(phases.last_start(), SERVICE_TIMEOUT)
            .context("memcached does not come back")?;

        let what = format!("{which}reading every key back");
        let read = self.progress.count(&what, options.keys, |bar| {
            client::read_back(self.port, options.keys, bar)
        })?;
        let blackout = self.probe.gap(left)?;
        Ok(Update {
            booted_anew: before != after.boot_id,
            keys_kept: read.right,
            keys_lost: read.missing,
            wrong_values: read.wrong,
            blackout_ms: blackout.duration().as_secs_f64() * 1000.0,
            phases: phases.within(blackout),
        })
    }
}

fn kernel(hello: &Hello) -> String {
    format!("{} {}", hello.release, hello.version)
}

fn boot(options: &DemoOptions) -> Result<(Machine, String)> {
    let mut image = Image::base()?;
    image.agent()?;
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
