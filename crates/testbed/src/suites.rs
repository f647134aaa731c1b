// SPDX-License-Identifier: Apache-2.0 OR MIT

//! All scenarios, by suite:
//! - `upstream`: the selftests of the kernel tree, unmodified, and its FLB test;
//! - `interface`: errnos and their order, memory accounts, failures: the same on both implementations;
//! - `handover`: from each implementation to each;
//! - `kho`: what LUO is carried over by: upstream's test of KHO, nodes, memory that grows, many kexecs in a row;
//! - `defects`: what C gets wrong, seen on C and absent on ours;
//! - `memfd`: memfds in use while they are preserved, and afterwards, with our handler;
//! - `kunit`: what the kernel tests itself, where it has `KUnit`;
//! - `load`: kexecs while processes are at work;
//! - `model`: random operations, compared with the model at every step;
//! - `agent`: luod and luoctl, with services of several users;
//! - `testbed`: what the test bed has to notice, and does.

mod agent;
mod defects;
mod defects_kexec;
mod defects_memfd;
mod defects_probe;
mod group;
mod handover;
mod interface;
mod kho;
mod kunit;
mod load;
mod memfd;
mod memfd_memory;
mod model;
mod plug;
mod testbed;
mod upstream;

use std::{
    num::NonZero,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    image::Image,
    report::Report,
    scenario::{self, Flavor, Lab, Scenario},
};

/// More machines side by side would want more memory than a small host has.
const MOST_MACHINES: usize = 4;

/// What the suites run on. Without one of the kernels the scenarios that need it are left out.
#[derive(Debug, Clone, Default)]
pub struct Kernels {
    /// A bzImage with upstream's implementation.
    pub c: Option<PathBuf>,
    /// A bzImage with ours.
    pub rust: Option<PathBuf>,
    /// Upstream's selftests of the same tree, as static programs.
    pub selftests: Vec<PathBuf>,
    /// The root of a system with systemd, or why it cannot be had. Without it, what is to run under it fails.
    pub systemd: Option<Result<PathBuf, String>>,
}

/// How the suites run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only scenarios whose name contains this.
    pub filter: Option<String>,
    /// The kernels have the debugging aids of `linux/config/lockdep.config`: its `KUnit` tests are there to be looked at, and
    /// what upstream's kernel runs alone is left out.
    pub with_aids: bool,
    /// How many kexecs in a row the load goes through, the operations of the model, and the agent; a few otherwise.
    pub kexecs: Option<u32>,
    /// Which operations of the model there are; always the same otherwise.
    pub seed: Option<u64>,
    /// Where console logs are kept; a folder of the cache otherwise.
    pub logs: Option<PathBuf>,
    /// Appended to every kernel's command line.
    pub extra_cmdline: String,
}

impl Kernels {
    fn flavors(&self) -> Vec<Flavor> {
        let given = [(Flavor::C, &self.c), (Flavor::Rust, &self.rust)];
        given
            .into_iter()
            .filter(|(_, image)| image.is_some())
            .map(|(flavor, _)| flavor)
            .collect()
    }

    /// The laboratory these kernels make, with the images that the scenarios ask for.
    ///
    /// # Errors
    /// When the image cannot be built.
    pub fn lab(&self, options: &Options, scenarios: &[Scenario]) -> Result<Lab> {
        let mut image = Image::base()?;
        let (mut agent_initrd, mut systemd_initrd) = (Vec::new(), Vec::new());
        let asks_for = |image| scenarios.iter().any(|it| it.image == image);
        if asks_for(scenario::Image::Agent) || asks_for(scenario::Image::Systemd) {
            let mut image = image.clone();
            image.agent()?;
            agent_initrd = image.archive()?;
            if let Some(Ok(root)) = &self.systemd {
                image.systemd(root)?;
                systemd_initrd = image.archive()?;
            }
        }
        for program in &self.selftests {
            let name = program
                .file_name()
                .with_context(|| format!("not a program: {}", program.display()))?;
            image.file_from(PathBuf::from(upstream::FOLDER).join(name), program)?;
        }
        let logs = match &options.logs {
            Some(logs) => logs.clone(),
            None => scenario::default_logs()?,
        };
        let given = [(Flavor::C, &self.c), (Flavor::Rust, &self.rust)];
        let kernels = given
            .into_iter()
            .filter_map(|(flavor, image)| Some((flavor, image.clone()?)))
            .collect();
        Ok(Lab {
            kernels,
            initrd: image.archive()?,
            agent_initrd,
            systemd_initrd,
            logs,
            extra_cmdline: options.extra_cmdline.clone(),
        })
    }
}

/// Runs every scenario that the kernels and the options allow, several side by side; prints a line for each as it ends.
///
/// # Errors
/// When nothing can be run at all. What fails in a scenario is in the report.
pub fn run(kernels: &Kernels, options: &Options) -> Result<Report> {
    let flavors = kernels.flavors();
    ensure!(
        !flavors.is_empty(),
        "no kernel to test; build one with `cargo xtask kernel`"
    );
    let scenarios = select(&flavors, !kernels.selftests.is_empty(), options);
    let filter = options.filter.as_deref().unwrap_or_default();
    ensure!(
        !scenarios.is_empty(),
        "no scenario's name contains \"{filter}\""
    );
    let lab = kernels.lab(options, &scenarios)?;
    let report = Mutex::new(Report::default());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let result = match (scenario.image, &kernels.systemd) {
                (scenario::Image::Systemd, Some(Err(why))) => Err(anyhow!("{why}")),
                (scenario::Image::Systemd, None) => Err(anyhow!("there is no systemd for it")),
                _ => scenario::run(scenario, &lab),
            };
            let mut report = report.lock().expect("adding a line does not panic");
            report.add(&scenario.name, result, started.elapsed());
        }
    };
    thread::scope(|scope| {
        for _ in 0..machines_at_once().min(scenarios.len()) {
            scope.spawn(work);
        }
    });
    let report = report.into_inner().expect("no thread has panicked");
    eprintln!("{report}");
    Ok(report)
}

/// A machine has two processors, but hardly ever uses both, and some of its time it waits.
fn machines_at_once() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    (processors + 1).min(MOST_MACHINES)
}

/// The scenarios that these kernels can run and that the options ask for.
pub fn select(flavors: &[Flavor], with_selftests: bool, options: &Options) -> Vec<Scenario> {
    let named = |it: &Scenario| {
        let filter = options.filter.as_ref();
        filter.is_none_or(|text| it.name.contains(text))
    };
    let has_ours = |it: &Scenario| it.flavors().contains(&Flavor::Rust);
    let mut scenarios = all(flavors, with_selftests);
    let long = |&flavor: &Flavor| agent::long(flavor, options.kexecs);
    scenarios.extend(flavors.iter().flat_map(long));
    if flavors.contains(&Flavor::Rust) {
        scenarios.extend(memfd::all());
        scenarios.push(kho::chain(flavors, options));
        scenarios.push(kho::shrinks());
        scenarios.push(load::kexecs(options.kexecs));
        scenarios.push(load::failing_freezes());
        scenarios.push(model::operations(options.seed, options.kexecs));
    }
    if options.with_aids {
        scenarios.push(kunit::conformance());
        scenarios.retain(has_ours);
        // What luod does is no matter of the kernel's checkers; that it can be updated with luod is.
        scenarios.retain(|it| it.image == scenario::Image::Base || agent::is_about_updates(it));
    }
    scenarios.retain(named);
    scenarios
}

/// Every scenario that these kernels can run.
fn all(flavors: &[Flavor], with_selftests: bool) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for &flavor in flavors {
        if with_selftests {
            scenarios.extend(upstream::programs(flavor));
        }
        scenarios.push(upstream::flb(flavor));
        scenarios.extend(interface::all(flavor));
    }
    scenarios.extend(handover::all(flavors));
    scenarios.extend(kho::all(flavors));
    for &flavor in flavors {
        scenarios.extend(defects::all(flavor));
        scenarios.extend(defects_kexec::all(flavor));
        scenarios.extend(defects_probe::all(flavor));
        scenarios.extend(defects_memfd::all(flavor));
        scenarios.extend(plug::all(flavor));
        scenarios.extend(agent::all(flavor));
    }
    scenarios.extend(flavors.last().into_iter().flat_map(|&it| testbed::all(it)));
    scenarios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_logs_do_not_overwrite_each_other() {
        let scenarios = all(&[Flavor::C, Flavor::Rust], true);
        let folder = PathBuf::from("/logs");
        let mut logs: Vec<_> = scenarios
            .iter()
            .map(|s| crate::machine::log_path(&folder, &s.name))
            .collect();
        logs.sort();
        logs.dedup();
        assert_eq!(logs.len(), scenarios.len());
    }

    #[test]
    fn a_single_kernel_gets_only_scenarios_it_can_run() {
        for flavor in [Flavor::C, Flavor::Rust] {
            assert!(
                all(&[flavor], true)
                    .iter()
                    .all(|scenario| scenario.flavors() == [flavor])
            );
        }
    }

    #[test]
    fn with_aids_nothing_runs_on_c_alone() {
        let flavors = [Flavor::C, Flavor::Rust];
        let with_aids = Options {
            with_aids: true,
            ..Options::default()
        };
        let chosen = select(&flavors, true, &with_aids);
        assert!(chosen.iter().all(|it| it.flavors() != [Flavor::C]));
        assert!(chosen.iter().any(|it| it.flavors() == flavors));
        let of_agent = chosen.iter().filter(|it| it.name.starts_with("agent/"));
        assert_eq!(of_agent.count(), 1, "updates in a row, on ours");
    }

    #[test]
    fn every_defect_is_judged() {
        let scenarios = all(&[Flavor::C], false);
        let defects = scenarios
            .iter()
            .filter(|it| it.name.starts_with("defects/"));
        assert!(defects.clone().count() > 0);
        for scenario in defects {
            let judged = scenario
                .actions
                .iter()
                .any(|action| matches!(action, scenario::Action::Judge { .. }));
            assert!(judged, "{} cannot tell C from ours", scenario.name);
        }
    }
}
