// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What came of many tests: a line each as they end, and the count.

use std::{fmt, time::Duration};

use anyhow::Result;

/// One test's result.
#[derive(Debug)]
pub struct Line {
    /// The test.
    pub name: String,
    /// What went wrong.
    pub failure: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// How many tests upstream's own programs in it have passed; 0 when it runs none.
    pub subtests: usize,
}

/// All results of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of running.
    pub lines: Vec<Line>,
}

impl Report {
    /// Adds a result and prints its line to standard error.
    pub fn add(&mut self, name: &str, result: Result<usize>, took: Duration) {
        let (failure, subtests) = match result {
            Ok(subtests) => (None, subtests),
            Err(error) => (Some(format!("{error:#}")), 0),
        };
        let line = Line {
            name: name.into(),
            failure,
            took,
            subtests,
        };
        eprintln!("{line}");
        self.lines.push(line);
    }

    /// How many passed.
    pub fn passed(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.failure.is_none())
            .count()
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.lines.len() - self.passed()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_none() {
            "ok    "
        } else {
            "FAILED"
        };
        write!(
            f,
            "{verdict} {} ({:.1} s)",
            self.name,
            self.took.as_secs_f64()
        )?;
        if self.subtests > 0 {
            write!(f, ", {} tests of upstream's in it", self.subtests)?;
        }
        if let Some(failure) = &self.failure {
            write!(f, "\n    {}", failure.replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed(), self.failed())?;
        match self.lines.iter().map(|line| line.subtests).sum() {
            0 => Ok(()),
            subtests => write!(f, "; with {subtests} tests of upstream's programs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_shown() {
        let mut report = Report::default();
        report.add("good", Ok(0), Duration::from_millis(1500));
        report.add("bad", Err(anyhow::anyhow!("no\nway")), Duration::ZERO);
        assert_eq!((report.passed(), report.failed()), (1, 1));
        assert_eq!(report.lines[0].to_string(), "ok     good (1.5 s)");
        assert!(report.lines[1].to_string().contains("FAILED bad"));
        assert_eq!(report.to_string(), "1 passed, 1 failed");
        report.add("upstream", Ok(15), Duration::ZERO);
        assert_eq!(
            report.to_string(),
            "2 passed, 1 failed; with 15 tests of upstream's programs"
        );
    }
}
