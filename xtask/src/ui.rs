// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Progress on standard error: a spinner for a person, a line now and then for a log.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a step that is not shown on a terminal says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One step of a task, from [`Step::start`] to [`Step::done`].
#[derive(Debug)]
pub struct Step {
    title: String,
    started: Instant,
    last_line: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Announces a step.
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let now = Instant::now();
        let spinner = stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
                    .expect("the template is a constant");
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if spinner.is_none() {
            eprintln!("{title} ...");
        }
        Self {
            title,
            started: now,
            last_line: now,
            spinner,
        }
    }

    /// Says what the step is doing right now.
    pub fn tick(&mut self, detail: &str) {
        match &self.spinner {
            Some(bar) => bar.set_message(detail.to_owned()),
            None if self.last_line.elapsed() >= HEARTBEAT => {
                self.last_line = Instant::now();
                eprintln!(
                    "  {} [{}] {detail}",
                    self.title,
                    duration(self.started.elapsed())
                );
            }
            None => {}
        }
    }

    /// Closes the step with its result; a step dropped without it has failed and leaves no line.
    pub fn done(self, result: &str) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
        let comma = if result.is_empty() { "" } else { ", " };
        eprintln!(
            "{}: {}{comma}{result}",
            self.title,
            duration(self.started.elapsed())
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}

/// A duration as a person says it: `4.2 s`, `5 min 31 s`.
#[must_use]
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        secs => format!("{} min {:02} s", secs / 60, secs % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(4_240)), "4.2 s");
        assert_eq!(duration(Duration::from_secs(331)), "5 min 31 s");
    }
}
