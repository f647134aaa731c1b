// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the demonstration found, and how long each part of the blackout took.

use std::{fmt, path::PathBuf, time::Instant};

use serde::Serialize;

use super::probe::Gap;

/// What the demonstration found.
#[derive(Debug, Clone, Serialize)]
pub struct DemoResult {
    /// `c` or `rust`.
    pub implementation: &'static str,
    /// Release and version of the kernel that was left.
    pub kernel_before: String,
    /// Release and version of the kernel that took over.
    pub kernel_after: String,
    /// It was really another boot.
    pub booted_anew: bool,
    /// Keys that memcached held before.
    pub keys_written: u32,
    /// The bytes of their values.
    pub bytes_written: u64,
    /// Keys that came back with their value.
    pub keys_kept: u32,
    /// Keys that did not come back.
    pub keys_lost: u32,
    /// Keys that came back with another value.
    pub wrong_values: u32,
    /// How long the probing client was without an answer.
    pub blackout_ms: f64,
    /// What that time went into, from the last answer to the next.
    pub phases: Vec<Phase>,
    /// Warnings in the kernels' log.
    pub kernel_trouble: Vec<String>,
    /// All that both kernels printed.
    pub console_log: PathBuf,
}

/// One part of the blackout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// In a person's words.
    pub name: &'static str,
    /// By the host's clock.
    pub ms: f64,
}

impl DemoResult {
    /// Whether nothing was lost, changed or complained about.
    pub fn is_good(&self) -> bool {
        self.booted_anew
            && self.keys_kept == self.keys_written
            && self.keys_lost == 0
            && self.wrong_values == 0
            && self.kernel_trouble.is_empty()
    }
}

impl fmt::Display for DemoResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.implementation == "c" {
            "upstream's C"
        } else {
            "ours in Rust"
        };
        writeln!(f, "Live update: {whose}")?;
        writeln!(f, "Kernel:      {}", self.kernel_before)?;
        writeln!(f, "replaced by: {}", self.kernel_after)?;
        let mib = self.bytes_written as f64 / f64::from(1 << 20);
        writeln!(f)?;
        writeln!(
            f,
            "Keys kept:    {} of {} ({mib:.1} MiB of values)",
            self.keys_kept, self.keys_written
        )?;
        writeln!(f, "Keys lost:    {}", self.keys_lost)?;
        writeln!(f, "Wrong values: {}", self.wrong_values)?;
        writeln!(
            f,
            "Blackout as the client saw it: {:.2} s, of which",
            self.blackout_ms / 1000.0
        )?;
        let width = self
            .phases
            .iter()
            .map(|phase| phase.name.len())
            .max()
            .unwrap_or_default();
        for Phase { name, ms } in &self.phases {
            writeln!(f, "  {name:width$}  {:7.3} s", ms / 1000.0)?;
        }
        for line in &self.kernel_trouble {
            writeln!(f, "Trouble in the kernel's log: {line}")?;
        }
        writeln!(f, "Console log: {}", self.console_log.display())?;
        write!(
            f,
            "{}",
            if self.is_good() {
                "Nothing was lost."
            } else {
                "FAILED: see above."
            }
        )
    }
}

/// Takes the time of one phase after the other, without gaps.
#[derive(Debug)]
pub(super) struct Phases {
    starts: Vec<(&'static str, Instant)>,
}

impl Phases {
    pub(super) fn start(name: &'static str) -> Self {
        Self {
            starts: vec![(name, Instant::now())],
        }
    }

    /// The running phase ends now.
    pub(super) fn next(&mut self, name: &'static str) {
        self.split(Instant::now(), name);
    }

    /// The running phase has ended at `at`.
    pub(super) fn split(&mut self, at: Instant, name: &'static str) {
        self.starts.push((name, at));
    }

    pub(super) fn last_start(&self) -> Instant {
        self.starts[self.starts.len() - 1].1
    }

    /// The phases as parts of the gap: a service that is being stopped still answers for a while.
    pub(super) fn within(mut self, gap: Gap) -> Vec<Phase> {
        self.starts[0].1 = gap.start;
        let ends = self
            .starts
            .iter()
            .skip(1)
            .map(|(_, at)| *at)
            .chain([gap.end]);
        let ms = |start: Instant, end: Instant| {
            end.saturating_duration_since(start).as_secs_f64() * 1000.0
        };
        self.starts
            .iter()
            .zip(ends)
            .map(|((name, start), end)| Phase {
                name,
                ms: ms(*start, end),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn result() -> DemoResult {
        DemoResult {
            implementation: "rust",
            kernel_before: "7.2".into(),
            kernel_after: "7.2".into(),
            booted_anew: true,
            keys_written: 10,
            bytes_written: 1 << 20,
            keys_kept: 10,
            keys_lost: 0,
            wrong_values: 0,
            blackout_ms: 1500.0,
            phases: vec![Phase {
                name: "stop",
                ms: 250.0,
            }],
            kernel_trouble: Vec::new(),
            console_log: "/log".into(),
        }
    }

    #[test]
    fn one_lost_key_or_warning_or_no_reboot_is_a_failure() {
        assert!(result().is_good());
        assert!(
            !DemoResult {
                keys_kept: 9,
                keys_lost: 1,
                ..result()
            }
            .is_good()
        );
        assert!(
            !DemoResult {
                keys_kept: 9,
                wrong_values: 1,
                ..result()
            }
            .is_good()
        );
        assert!(
            !DemoResult {
                booted_anew: false,
                ..result()
            }
            .is_good()
        );
        assert!(
            !DemoResult {
                kernel_trouble: vec!["WARNING:".into()],
                ..result()
            }
            .is_good()
        );
    }

    #[test]
    fn the_text_says_what_a_person_asks() {
        let text = result().to_string();
        for part in ["10 of 10", "1.50 s", "0.250 s", "Nothing was lost."] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn phases_have_no_gaps() {
        let mut phases = Phases::start("a");
        let start = phases.last_start();
        phases.split(start + Duration::from_millis(10), "b");
        phases.split(start + Duration::from_millis(30), "c");
        let gap = Gap {
            start: start + Duration::from_millis(4),
            end: start + Duration::from_millis(60),
        };
        let phases = phases.within(gap);
        let ms: Vec<_> = phases.iter().map(|phase| phase.ms.round()).collect();
        assert_eq!(ms, [6.0, 20.0, 30.0], "and add up to the gap");
    }
}
