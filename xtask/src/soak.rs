// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Searches that are the better the longer they run.
//!
//! A search is a [`Job`]; jobs run side by side, each until it has used the processor for a given time.

pub mod coverage;
pub mod fuzz;
pub mod kept;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::ui::Step;

/// Something that can go on for as long as one likes.
pub trait Job: Sync {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Runs for this much time of a processor, or until something is found; says now and then how far it is.
    ///
    /// # Errors
    /// It could not be run, which is not the same as a finding.
    fn run(&self, cpu: Duration, progress: &dyn Fn(String)) -> Result<Outcome>;
}

/// What came of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The job's name.
    pub name: String,
    /// How many inputs were tried.
    pub executions: u64,
    /// Time of a processor.
    pub cpu_seconds: f64,
    /// What libFuzzer counts as covered: edges between blocks of code, those of the checks included.
    pub edges: u64,
    /// What was found.
    pub finding: Option<Finding>,
}

impl Outcome {
    /// Inputs per second of a processor.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.cpu_seconds > 0.0 {
            self.executions as f64 / self.cpu_seconds
        } else {
            0.0
        }
    }
}

/// An input on which something is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub message: String,
    /// Where the input is.
    pub input: PathBuf,
    /// How to see it again.
    pub replay: String,
}

/// Runs all jobs side by side, each for this much time of a processor.
///
/// # Errors
/// One of them could not be run.
pub fn run(jobs: &[&dyn Job], cpu: Duration) -> Result<Vec<Outcome>> {
    let mut step = Step::start(format!("Soaking ({} jobs)", jobs.len()));
    let (sender, reports) = mpsc::channel::<(usize, String)>();
    let outcomes = thread::scope(|scope| {
        let running: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(index, job)| {
                let sender = sender.clone();
                // The receiver outlives the job; if it did not, nobody would want to know.
                scope.spawn(move || job.run(cpu, &|text| drop(sender.send((index, text)))))
            })
            .collect();
        drop(sender);
        let mut states = vec![String::from("starting"); jobs.len()];
        for (index, text) in reports {
            states[index] = text;
            let all = jobs.iter().zip(&states);
            let all = all.map(|(job, state)| format!("{}: {state}", job.name()));
            step.tick(&all.collect::<Vec<_>>().join("; "));
        }
        let join = |job: thread::ScopedJoinHandle<'_, Result<Outcome>>| {
            job.join()
                .unwrap_or_else(|_| Err(anyhow!("a job panicked")))
        };
        running.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    step.done("");
    Ok(outcomes)
}
