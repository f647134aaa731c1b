// SPDX-License-Identifier: GPL-2.0-only

//! A search through the schedules of a race.
//!
//! A model is a function that sets a machine up, lets tasks [`race`], and looks at what they left.
//! [`explore`] runs it again and again, each time with another schedule. What decides is
//! [shuttle]; the models run LUO's text and its real locking, on the backend that
//! `kernel::host::point` describes.
//!
//! # Why shuttle and not loom
//!
//! What LUO shares stands under locks; its one atomic, the flag of the open device, orders nothing. So the order of the steps is
//! all there is to vary, and what loom adds, the weak memory of atomics, has nothing to say. Loom
//! saves schedules by leaving out those in which steps are exchanged that touch different locks, and
//! a lock that somebody forgot to take is one that no step touches: loom would leave out just the
//! schedules in which that shows. [`Systematic`] leaves out nothing, and most models are small
//! enough for that.
//!
//! [shuttle]: https://docs.rs/shuttle

mod race;
mod systematic;

pub use self::{race::race, systematic::Systematic};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use std::{env, thread};

/// How thorough a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// All schedules, however often one task interrupts another.
    Every,
    /// All schedules in which tasks interrupt each other at most this often, and then
    /// [`SAMPLES`] of the others, twice: for models with too many.
    Preemptions(usize),
}

/// How many schedules are drawn by lot, evenly and by priorities each, where not every schedule is
/// tried.
pub const SAMPLES: usize = 1000;

/// The variable that says how many it shall be instead, and others each time.
pub const MORE: &str = "LUO_RACES_SAMPLES";

/// Runs the model with many schedules, and says how many.
///
/// # Panics
///
/// If the model does in one of them, or if all of its tasks wait.
pub fn explore(search: Search, model: fn()) {
    let (most, what) = match search {
        Search::Every => (usize::MAX, "all there are".to_owned()),
        Search::Preemptions(most) => (most, format!("all with {most} preemptions")),
    };
    let tried = run(Systematic::new(most), model);
    say(tried, &what);
    if search == Search::Every {
        return;
    }
    if let Some(samples) = env::var(MORE).ok().and_then(|it| it.parse().ok()) {
        run(RandomScheduler::new(samples), model);
        run(PctScheduler::new(4, samples), model);
        say(2 * samples, "drawn by lot, others each time");
    } else {
        // Always the same, so that a test which passed passes again.
        run(RandomScheduler::new_from_seed(1, SAMPLES), model);
        run(PctScheduler::new_from_seed(1, 4, SAMPLES), model);
        say(2 * SAMPLES, "drawn by lot");
    }
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) -> usize {
    let mut config = Config::new();
    // Without optimisation, pages of 4 KiB are moved over the stack.
    config.stack_size = 0x4_0000;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    Runner::new(scheduler, config).run(model)
}

fn say(schedules: usize, which: &str) {
    let this = thread::current();
    let name = this.name().unwrap_or("race");
    println!("{name}: {schedules} schedules, {which}");
}
