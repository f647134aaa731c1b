// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Searches that are the better the longer they run.
//!
//! A search is a [`Job`]. Those that need a processor each run side by side; those that want the whole machine follow, one
//! after the other.

pub mod countdown;
pub mod coverage;
pub mod fuzz;
pub mod kept;
pub mod machines;
pub mod model;
pub mod mutants;
pub mod process;
pub mod program;
pub mod races;
pub mod report;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::ui::Step;

/// Says how far a job is.
pub type Progress<'a> = &'a (dyn Fn(String) + Sync);

/// Something that looks for what is wrong.
pub trait Job: Sync {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Whether it keeps all processors busy by itself.
    fn wants_the_machine(&self) -> bool {
        false
    }

    /// Runs to its end or, if it has none, as long as the budget allows; or until something is found. Says now and then how far it
    /// is.
    ///
    /// # Errors
    /// It could not be run, which is not the same as a finding.
    fn run(&self, budget: &Budget, progress: Progress<'_>) -> Result<Outcome>;
}

/// How long to search.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Time of a processor for each search that has no end.
    pub cpu: Duration,
    stop: Arc<AtomicBool>,
}

impl Budget {
    /// This much time of a processor.
    #[must_use]
    pub fn of(cpu: Duration) -> Self {
        Self {
            cpu,
            stop: Arc::default(),
        }
    }

    /// After a SIGINT searches end their round, and none begins: what has been tried until then is reported. After a second one
    /// the program ends.
    ///
    /// # Errors
    /// The signal cannot be handled.
    pub fn stop_on_interrupt(&self) -> Result<()> {
        flag::register_conditional_shutdown(SIGINT, 130, self.stop.clone())
            .and_then(|_| flag::register(SIGINT, self.stop.clone()))
            .map(drop)
            .context("cannot handle SIGINT")
    }

    /// Whether somebody wants to see what has been tried so far.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What came of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The job's name.
    pub name: String,
    /// How much was tried.
    pub number: u64,
    /// What is counted.
    pub of: &'static str,
    /// Time of a processor.
    pub cpu_seconds: f64,
    /// What else is known, by its name.
    pub figures: BTreeMap<String, u64>,
    /// What was found.
    pub finding: Option<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub message: String,
    /// What it was found with, or where all is written down that was seen.
    pub input: PathBuf,
    /// How to see it again.
    pub replay: String,
}

/// A job that could not be run.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

impl Outcome {
    /// Nothing so far, of what is counted like this.
    #[must_use]
    pub fn new(name: &str, of: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            number: 0,
            of,
            cpu_seconds: 0.0,
            figures: BTreeMap::new(),
            finding: None,
        }
    }

    /// Adds to a figure.
    pub fn add(&mut self, figure: &str, number: u64) {
        *self.figures.entry(figure.to_owned()).or_default() += number;
    }

    /// Whether there is nothing to stop for: no finding, no interrupt, and time left.
    #[must_use]
    pub fn goes_on(&self, budget: &Budget) -> bool {
        let has_time = self.cpu_seconds < budget.cpu.as_secs_f64();
        self.finding.is_none() && has_time && !budget.is_stopped()
    }

    /// How far it is.
    #[must_use]
    pub fn so_far(&self) -> String {
        format!("{} {} in {:.0} s", self.number, self.of, self.cpu_seconds)
    }
}

/// Runs all jobs, and gives what came of each, in their order. One that cannot be run does not stop the others.
pub fn run(jobs: &[Box<dyn Job>], budget: &Budget) -> (Vec<Outcome>, Vec<Failure>) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let (alone, together): (Vec<_>, Vec<_>) =
        (0..jobs.len()).partition(|it| jobs[*it].wants_the_machine());
    let mut results = run_some(jobs, &together, processors, budget);
    results.extend(run_some(jobs, &alone, 1, budget));
    results.sort_by_key(|(index, _)| *index);
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for (index, result) in results {
        match result {
            Ok(outcome) => outcomes.push(outcome),
            Err(err) => failures.push(Failure {
                name: jobs[index].name().to_owned(),
                error: format!("{err:#}"),
            }),
        }
    }
    (outcomes, failures)
}

/// Runs the jobs with these indices, so many at a time.
fn run_some(
    jobs: &[Box<dyn Job>],
    chosen: &[usize],
    at_once: usize,
    budget: &Budget,
) -> Vec<(usize, Result<Outcome>)> {
    if chosen.is_empty() {
        return Vec::new();
    }
    let names: Vec<_> = chosen.iter().map(|it| jobs[*it].name()).collect();
    let mut step = Step::start(format!("Soaking: {}", names.join(", ")));
    let next = AtomicUsize::new(0);
    let work = |sender: &Sender<(usize, String)>| {
        let mut results = Vec::new();
        while !budget.is_stopped()
            && let Some(&index) = chosen.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let job = &jobs[index];
            // The receiver outlives the job; if it did not, nobody would want to know.
            let say = |text| drop(sender.send((index, text)));
            say("running".to_owned());
            let result = job
                .run(budget, &say)
                .with_context(|| format!("{} cannot be run", job.name()));
            let state = match &result {
                Ok(outcome) if outcome.finding.is_none() => "done",
                Ok(_) => "FOUND SOMETHING",
                Err(_) => "FAILED",
            };
            say(state.to_owned());
            results.push((index, result));
        }
        results
    };
    let results = thread::scope(|scope| {
        let (sender, reports) = mpsc::channel();
        let workers: Vec<_> = (0..at_once.min(chosen.len()))
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || work(&sender))
            })
            .collect();
        drop(sender);
        let mut states = BTreeMap::new();
        for (index, text) in reports {
            states.insert(index, text);
            let states = states.iter();
            let states = states.map(|(index, state)| format!("{}: {state}", jobs[*index].name()));
            step.tick(&states.collect::<Vec<_>>().join("; "));
        }
        workers
            .into_iter()
            .flat_map(|it| it.join().expect("a job does not panic"))
            .collect()
    });
    step.done("");
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::sync::Mutex;

    /// Notes how many jobs of its kind run at once.
    struct Counted<'a> {
        alone: bool,
        running: &'a Mutex<(usize, usize)>,
    }

    impl Job for Counted<'_> {
        fn name(&self) -> &str {
            "counted"
        }

        fn wants_the_machine(&self) -> bool {
            self.alone
        }

        fn run(&self, _: &Budget, _: Progress<'_>) -> Result<Outcome> {
            let change = |by: isize| {
                let mut running = self.running.lock().unwrap();
                running.0 = running.0.wrapping_add_signed(by);
                running.1 = running.1.max(running.0);
            };
            change(1);
            thread::yield_now();
            change(-1);
            Ok(Outcome::new("counted", "nothing"))
        }
    }

    struct Failing;

    impl Job for Failing {
        fn name(&self) -> &str {
            "failing"
        }

        fn run(&self, _: &Budget, _: Progress<'_>) -> Result<Outcome> {
            bail!("no such thing")
        }
    }

    #[test]
    fn no_more_run_at_once_than_there_are_processors() {
        static RUNNING: [Mutex<(usize, usize)>; 2] = [Mutex::new((0, 0)), Mutex::new((0, 0))];
        let job = |alone| -> Box<dyn Job> {
            let running = &RUNNING[usize::from(alone)];
            Box::new(Counted { alone, running })
        };
        let jobs: Vec<_> = (0..40).map(|number| job(number % 2 == 0)).collect();
        let (outcomes, failures) = run(&jobs, &Budget::of(Duration::ZERO));
        assert_eq!((outcomes.len(), failures.len()), (40, 0));
        let [together, alone] = RUNNING.each_ref().map(|it| it.lock().unwrap().1);
        assert_eq!(alone, 1);
        assert!(together <= thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn one_that_cannot_be_run_does_not_hide_what_came_of_the_others() {
        static RUNNING: Mutex<(usize, usize)> = Mutex::new((0, 0));
        let jobs: [Box<dyn Job>; 2] = [
            Box::new(Failing),
            Box::new(Counted {
                alone: true,
                running: &RUNNING,
            }),
        ];
        let (outcomes, failures) = run(&jobs, &Budget::of(Duration::ZERO));
        assert_eq!(outcomes[0].name, "counted");
        assert!(failures[0].error.contains("no such thing"));
    }

    #[test]
    fn an_interrupt_ends_the_search_and_not_the_report() {
        static RUNNING: Mutex<(usize, usize)> = Mutex::new((0, 0));
        let budget = Budget::of(Duration::from_secs(60));
        let outcome = Outcome::new("endless", "rounds");
        budget.stop_on_interrupt().unwrap();
        assert!(outcome.goes_on(&budget));
        signal_hook::low_level::raise(SIGINT).unwrap();
        assert!(!outcome.goes_on(&budget));
        let jobs: [Box<dyn Job>; 1] = [Box::new(Counted {
            alone: false,
            running: &RUNNING,
        })];
        let (outcomes, failures) = run(&jobs, &budget);
        assert_eq!((outcomes.len(), failures.len()), (0, 0));
    }
}
