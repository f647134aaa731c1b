// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a person sees while something runs: a line for each step, with how long it took.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps on standard error. Nothing, when the caller is a program.
pub(crate) struct Progress {
    quiet: bool,
    running: RefCell<Option<(String, Instant, ProgressBar)>>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            running: RefCell::new(None),
        }
    }

    /// The running step is over, the next begins.
    pub(crate) fn step(&self, what: &str) {
        self.begin(
            what,
            ProgressBar::new_spinner(),
            "{spinner} {msg} [{elapsed}]",
        );
    }

    /// A step that counts; the work gets a function that takes the count.
    pub(crate) fn count<T>(
        &self,
        what: &str,
        total: u32,
        work: impl FnOnce(&dyn Fn(u32)) -> Result<T>,
    ) -> Result<T> {
        let bar = ProgressBar::new(total.into());
        self.begin(what, bar.clone(), "{spinner} {msg} {bar:30} {pos}/{len}");
        work(&|count| bar.set_position(count.into()))
    }

    /// The last step is over.
    pub(crate) fn done(&self) {
        if let Some((what, since, bar)) = self.running.take() {
            bar.finish_and_clear();
            if !self.quiet {
                eprintln!("{what} ({:.1} s)", since.elapsed().as_secs_f64());
            }
        }
    }

    fn begin(&self, what: &str, bar: ProgressBar, template: &str) {
        self.done();
        if self.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.running
            .replace(Some((what.to_owned(), Instant::now(), bar)));
    }
}
