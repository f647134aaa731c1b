// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Corrupted handovers between two real kernels.
//!
//! A machine hands over sessions, files and FLBs, and is kept at moments of the kexec: before the next kernel has read
//! anything, before its LUO has, and when its agent is about to ask for everything. Each case resumes it at one of them with other bytes
//! in its memory, has the agent fetch, compare and finish everything, and judges what came of it: see [`Verdict`].
//!
//! A corruption *concerns* those whose structures it changes, and those at whose structures a changed address points, since
//! nothing in the format tells whose a page is: the root, the page of FLBs and the heads of session blocks are everybody's, an
//! entry of a block of sessions and all behind it is that session's.

mod case;
mod field;
mod goods;
mod handover;
mod kho;
pub(crate) mod memory;
mod random;
mod results;
pub(crate) mod stage;
#[cfg(test)]
mod tests;
mod value;
mod verdict;

use std::{
    collections::BTreeMap,
    fs,
    num::NonZero,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use case::Case;
use handover::Handover;
use memory::Memory;
use stage::Stage;
use verdict::End;

pub use field::Structure;
pub use results::{Counts, Notable, OfKernel, Results};
pub use stage::Moment;
pub use verdict::Verdict;

use crate::{
    image::Image,
    machine::log_path,
    scenario::{Flavor, Lab},
    watch,
};

/// A busy host makes the machine's clock jump, which the kernel's timers complain about. What kind of trouble a backtrace
/// belongs to stands in the line before it.
const OF_THE_HOST: [&str; 2] = ["WARNING: kernel/time/", "Call Trace:"];
/// Lines of the kernel's that go into a report.
const MOST_LINES: usize = 12;
/// What LUO and its neighbours call themselves in the kernel's log.
const OWN_MESSAGES: [&str; 5] = ["luo", "liveupdate", "KHO", "kho", "memfd"];

/// Which cases.
#[derive(Debug, Clone)]
pub struct Options {
    /// At most so many, of all kinds alike; otherwise all.
    pub cases: Option<usize>,
    /// So many with flipped bits among them.
    pub flips: usize,
    /// Decides which ones, and which bits.
    pub seed: u64,
    /// Only cases with this in their name; what is seen is reported in any case.
    pub only: Option<String>,
}

/// Called now and then with how far it is.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// The kernels, and an initial ramdisk with the list of what is handed over: as a request it would be too long for the agent's
/// serial port.
///
/// # Errors
/// When the guest's init cannot be built.
pub fn lab(kernels: BTreeMap<Flavor, PathBuf>, logs: PathBuf) -> Result<Lab> {
    let mut image = Image::base()?;
    image.file(stage::LIST, serde_json::to_vec(&goods::all())?, 0o644);
    Ok(Lab {
        kernels,
        initrd: image.archive()?,
        agent_initrd: Vec::new(),
        systemd_initrd: Vec::new(),
        logs,
        extra_cmdline: String::new(),
    })
}

/// Runs cases on all kernels of the lab, one kernel after the other.
///
/// # Errors
/// When the machines cannot be run. What kernels do wrong is in the results.
pub fn run(lab: &Lab, options: &Options, progress: Progress<'_>) -> Result<Results> {
    let mut results = Results {
        seed: options.seed,
        kernels: Vec::new(),
    };
    for &flavor in lab.kernels.keys() {
        progress(&format!("{}: preparing a handover", flavor.name()));
        results
            .kernels
            .push(run_kernel(lab, flavor, options, progress)?);
    }
    Ok(results)
}

fn run_kernel(
    lab: &Lab,
    flavor: Flavor,
    options: &Options,
    progress: Progress<'_>,
) -> Result<OfKernel> {
    let stage = Stage::prepare(lab, flavor)?;
    let memory = Memory::open(stage.memory())?;
    let handover = Handover::read(&memory, stage.sought())
        .and_then(|it| it.with_kho(&memory))
        .context("cannot read the handover in the machine's memory")?;
    let cases = choose(&handover, options)?;
    let run = Run {
        lab,
        flavor,
        options,
        stage: &stage,
        handover: &handover,
    };
    run.must_be_harmless()?;
    let results = Mutex::new(OfKernel::new(flavor));
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (verdict, seen) = run.play(case).with_context(|| case.name.clone())?;
            let mut results = results.lock().expect("counting does not panic");
            results.count(case.structure, verdict);
            if verdict >= Verdict::Warned || options.only.is_some() {
                results.notable.push(run.notable(case, verdict, seen));
            }
            if results.cases.is_multiple_of(100) || results.cases == cases.len() {
                let bad = results.bad();
                let name = flavor.name();
                let done = results.cases;
                progress(&format!(
                    "{name}: {done} of {} cases, {bad} bad",
                    cases.len()
                ));
            }
        }
        Ok(())
    };
    let machines = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..machines.min(cases.len()))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a case does not panic"))
    })?;
    let mut results = results.into_inner().expect("no thread has panicked");
    results
        .notable
        .sort_by(|a, b| (a.verdict, &a.case).cmp(&(b.verdict, &b.case)));
    Ok(results)
}

fn choose(handover: &Handover, options: &Options) -> Result<Vec<Case>> {
    let mut cases = case::enumerated(handover);
    cases.extend(case::flips(handover, options.flips, options.seed));
    if let Some(only) = &options.only {
        cases.retain(|case| case.name.contains(only));
        ensure!(!cases.is_empty(), "no case has \"{only}\" in its name");
    }
    Ok(match options.cases {
        Some(count) => case::sample(cases, count, options.seed),
        None => cases,
    })
}

struct Run<'a> {
    lab: &'a Lab,
    flavor: Flavor,
    options: &'a Options,
    stage: &'a Stage,
    handover: &'a Handover,
}

impl Run<'_> {
    /// If what is not corrupted does not come out whole, nothing else means anything.
    fn must_be_harmless(&self) -> Result<()> {
        for structure in [Structure::KhoFdt, Structure::Root, Structure::Session] {
            let case = case::unchanged(structure);
            let (verdict, seen) = self.play(&case)?;
            if verdict != Verdict::Harmless {
                bail!(
                    "a handover that is not corrupted is {}:\n    {}",
                    verdict.name(),
                    seen.join("\n    ")
                );
            }
        }
        Ok(())
    }

    /// Resumes a machine, corrupted, and judges it; gives what was seen too. The log of a machine that did well is removed.
    fn play(&self, case: &Case) -> Result<(Verdict, Vec<String>)> {
        let moment = case.structure.moment();
        let log = self.log(case);
        let mut machine = self.stage.resume(moment, &case.patches, &log)?;
        let end = match self.stage.survey(&mut machine, moment) {
            Ok(survey) => End::Told(survey),
            Err(_) if machine.has_ended()? && !machine.ran_out_of_time()? => End::Died,
            Err(_) => End::Silent,
        };
        let lines: Vec<_> = machine.end().into_iter().map(|line| line.text).collect();
        let texts = lines.iter().map(String::as_str);
        let trouble: Vec<_> = watch::unexpected(texts, &OF_THE_HOST)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let verdict = verdict::judge(case, &end, &lines, &trouble);
        if verdict < Verdict::Warned {
            fs::remove_file(&log).ok();
        }
        let mut seen = match end {
            End::Told(survey) => survey
                .deviations
                .iter()
                .map(|it| format!("{it:?}"))
                .collect(),
            end => vec![format!("{end:?}")],
        };
        let own = |line: &&String| OWN_MESSAGES.iter().any(|name| line.contains(name));
        seen.truncate(MOST_LINES);
        seen.extend(trouble.into_iter().take(MOST_LINES));
        seen.extend(lines.iter().filter(own).take(MOST_LINES).cloned());
        Ok((verdict, seen))
    }

    fn log(&self, case: &Case) -> PathBuf {
        let about = format!("hostile {} {}", self.flavor.name(), case.name);
        log_path(&self.lab.logs, &about)
    }

    fn notable(&self, case: &Case, verdict: Verdict, mut seen: Vec<String>) -> Notable {
        seen.push(format!("console: {}", self.log(case).display()));
        let change = case.patches.iter().map(|patch| {
            let field = self
                .handover
                .fields
                .iter()
                .find(|field| field.at == patch.physical);
            let old = field
                .map(|field| field.bytes.as_slice())
                .unwrap_or_default();
            format!(
                "at {:#x}: {} -> {}",
                patch.physical,
                show(old),
                show(&patch.bytes)
            )
        });
        Notable {
            case: case.name.clone(),
            structure: case.structure,
            verdict,
            change: change.collect(),
            seen,
            repeat: format!(
                "cargo xtask hostile --flavor {} --seed {} --only '{}'",
                self.flavor.name(),
                self.options.seed,
                case.name
            ),
        }
    }
}

/// A number as a number, a text as a text, without what fills it up.
fn show(bytes: &[u8]) -> String {
    if let Ok(bytes) = bytes.try_into() {
        return format!("{:#x}", u64::from_le_bytes(bytes));
    }
    let end = bytes.iter().rposition(|byte| *byte != 0);
    let text = &bytes[..end.map_or(0, |at| at + 1)];
    format!("\"{}\"", text.escape_ascii())
}
