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
    /// Keys that memcached held before.
    pub keys_written: u32,
    /// The bytes of their values.
    pub bytes_written: u64,
    /// How many updates there should be.
    pub updates_wanted: u32,
    /// Those that there were, in their order.
    pub updates: Vec<Update>,
    /// Warnings in the kernels' log.
    pub kernel_trouble: Vec<String>,
    /// All that both kernels printed.
    pub console_log: PathBuf,
}

/// What was found after one update.
#[derive(Debug, Clone, Serialize)]
pub struct Update {
    /// It was really another boot.
    pub booted_anew: bool,
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
}

/// One part of the blackout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// In a person's words.
    pub name: &'static str,
    /// By the host's clock.
    pub ms: f64,
}

impl Update {
    /// Whether nothing of so many keys was lost or changed.
    pub fn is_good(&self, keys: u32) -> bool {
        self.booted_anew && self.keys_kept == keys && self.keys_lost == 0 && self.wrong_values == 0
    }
}

impl DemoResult {
    /// Whether nothing was lost, changed or complained about.
    pub fn is_good(&self) -> bool {
        self.updates.len() == self.updates_wanted as usize
            && self.updates.iter().all(|it| it.is_good(self.keys_written))
            && self.kernel_trouble.is_empty()
    }

    fn write_blackout(&self, f: &mut fmt::Formatter<'_>, last: &Update) -> fmt::Result {
        if self.updates.len() > 1 {
            let seconds = || self.updates.iter().map(|it| it.blackout_ms / 1000.0);
            writeln!(
                f,
                "Blackouts as the client saw them: {:.2} to {:.2} s",
                seconds().fold(f64::INFINITY, f64::min),
                seconds().fold(0.0, f64::max)
            )?;
        }
        let which = if self.updates.len() > 1 {
            "The last"
        } else {
            "Blackout as the client saw it"
        };
        writeln!(f, "{which}: {:.2} s, of which", last.blackout_ms / 1000.0)?;
        let widths = last.phases.iter().map(|phase| phase.name.len());
        let width = widths.max().unwrap_or_default();
        for Phase { name, ms } in &last.phases {
            writeln!(f, "  {name:width$}  {:7.3} s", ms / 1000.0)?;
        }
        Ok(())
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
        if self.updates_wanted > 1 {
            writeln!(
                f,
                "Updates:     {} of {}",
                self.updates.len(),
                self.updates_wanted
            )?;
        }
        let mib = self.bytes_written as f64 / f64::from(1 << 20);
        writeln!(f)?;
        // What is lost once stays lost, so that the last update tells of all.
        if let Some(last) = self.updates.last() {
            writeln!(
                f,
                "Keys kept:    {} of {} ({mib:.1} MiB of values)",
                last.keys_kept, self.keys_written
            )?;
            writeln!(f, "Keys lost:    {}", last.keys_lost)?;
            writeln!(f, "Wrong values: {}", last.wrong_values)?;
            self.write_blackout(f, last)?;
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

    fn update() -> Update {
        Update {
            booted_anew: true,
            keys_kept: 10,
            keys_lost: 0,
            wrong_values: 0,
            blackout_ms: 1500.0,
            phases: vec![Phase {
                name: "stop",
                ms: 250.0,
            }],
        }
    }

    fn result(updates: Vec<Update>) -> DemoResult {
        DemoResult {
            implementation: "rust",
            kernel_before: "7.2".into(),
            kernel_after: "7.2".into(),
            keys_written: 10,
            bytes_written: 1 << 20,
            updates_wanted: 2,
            updates,
            kernel_trouble: Vec::new(),
            console_log: "/log".into(),
        }
    }

    #[test]
    fn one_lost_key_or_warning_or_no_reboot_is_a_failure() {
        assert!(result(vec![update(), update()]).is_good());
        let lost = Update {
            keys_kept: 9,
            keys_lost: 1,
            ..update()
        };
        let wrong = Update {
            keys_kept: 9,
            wrong_values: 1,
            ..update()
        };
        let stayed = Update {
            booted_anew: false,
            ..update()
        };
        for bad in [lost, wrong, stayed] {
            assert!(!result(vec![bad.clone(), update()]).is_good(), "{bad:?}");
            assert!(!result(vec![update(), bad.clone()]).is_good(), "{bad:?}");
        }
        assert!(!result(vec![update()]).is_good(), "one is missing");
        let complaint = DemoResult {
            kernel_trouble: vec!["WARNING:".into()],
            ..result(vec![update(), update()])
        };
        assert!(!complaint.is_good());
    }

    #[test]
    fn the_text_says_what_a_person_asks() {
        let longer = Update {
            blackout_ms: 2500.0,
            ..update()
        };
        let text = result(vec![longer, update()]).to_string();
        for part in [
            "2 of 2",
            "10 of 10",
            "1.50 to 2.50 s",
            "0.250 s",
            "Nothing was lost.",
        ] {
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
