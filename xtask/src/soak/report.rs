// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What came of all searches, for programs and as a person reads it.

use std::fmt;

use serde::Serialize;

use crate::soak::coverage::Coverage;
use crate::soak::{Failure, Outcome};

/// What came of all searches.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of those that could be run.
    pub outcomes: Vec<Outcome>,
    /// Those that could not.
    pub failures: Vec<Failure>,
    /// What the fuzzers reach; absent if none has run, or if it cannot be measured.
    pub coverage: Option<Coverage>,
}

impl Report {
    /// Whether all could be run and nothing was found.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.outcomes.iter().all(|it| it.finding.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11}{:>14} {:<20}{:>8}",
            "search", "number", "of", "CPU, s"
        )?;
        for it in &self.outcomes {
            let (name, number, of, cpu) = (&it.name, it.number, it.of, it.cpu_seconds);
            writeln!(f, "{name:<11}{number:>14} {of:<20}{cpu:>8.0}")?;
        }
        for it in self.outcomes.iter().filter(|it| !it.figures.is_empty()) {
            writeln!(f, "\n{}", it.name)?;
            for (figure, number) in &it.figures {
                writeln!(f, "{number:>14} {figure}")?;
            }
        }
        if let Some(Coverage { total, files }) = &self.coverage {
            let (covered, count) = (total.covered, total.count);
            writeln!(
                f,
                "\nLines of LUO that the fuzzers reach: {covered} of {count}"
            )?;
            for (file, lines) in files.iter().filter(|(_, it)| it.covered < it.count) {
                writeln!(f, "  {file}: {} of {}", lines.covered, lines.count)?;
            }
        }
        for Failure { error, .. } in &self.failures {
            writeln!(f, "\nFAILED: {error}")?;
        }
        let found = self
            .outcomes
            .iter()
            .filter_map(|it| Some((&it.name, it.finding.as_ref()?)));
        for (name, finding) in found.clone() {
            let (message, input) = (&finding.message, finding.input.display());
            let replay = &finding.replay;
            writeln!(
                f,
                "\nFOUND by {name}: {message}\n  input:  {input}\n  replay: {replay}"
            )?;
        }
        write!(f, "\n{} found", found.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::Finding;

    #[test]
    fn a_finding_is_shown_with_what_shows_it_again() {
        let mut outcome = Outcome::new("races", "schedules");
        outcome.number = 12_345;
        let mut report = Report {
            outcomes: vec![outcome],
            failures: Vec::new(),
            coverage: None,
        };
        assert!(report.is_good() && report.to_string().ends_with("\n0 found"));
        report.outcomes[0].finding = Some(Finding {
            message: "lost".into(),
            input: "/log".into(),
            replay: "cargo test".into(),
        });
        assert!(!report.is_good());
        let text = report.to_string();
        assert!(text.contains("12345 schedules"), "{text}");
        assert!(text.contains("FOUND by races: lost\n  input:  /log\n  replay: cargo test"));
        assert!(text.ends_with("\n1 found"));
    }

    #[test]
    fn a_search_that_could_not_be_run_is_not_taken_for_success() {
        let failures = vec![Failure {
            name: "load".into(),
            error: "load cannot be run: no machine".into(),
        }];
        let report = Report {
            outcomes: Vec::new(),
            failures,
            coverage: None,
        };
        assert!(!report.is_good());
        assert!(report.to_string().contains("no machine"));
    }
}
