// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Everything that can fail, failing once at every point.

use anyhow::{Result, ensure};

use crate::soak::program::{Program, Selection, number_before};
use crate::soak::{Budget, Job, Outcome, Progress};

/// What can fail, as the tests call it.
const KINDS: [&str; 3] = ["allocations", "copies", "callbacks"];

/// The search, which has an end.
#[derive(Debug)]
pub struct Countdown(pub Program);

impl Job for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    fn run(&self, _: &Budget, _: Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new(self.name(), "points of failure");
        let selection = Selection {
            filter: "countdown::".into(),
            exact: false,
            variables: Vec::new(),
        };
        let said = self.0.run(&selection, &mut outcome)?;
        count(&said, &mut outcome);
        ensure!(
            outcome.number > 0 || outcome.finding.is_some(),
            "the countdown does not say what it did"
        );
        Ok(outcome)
    }
}

fn count(said: &str, outcome: &mut Outcome) {
    for (_, points) in said.lines().filter_map(|it| it.split_once("Points {")) {
        outcome.add("scenarios", 1);
        for kind in KINDS {
            // `Points { allocations: 70, copies: 26, callbacks: 15 }`
            let number = points.split_once(kind).and_then(|(_, rest)| {
                let end = rest.find([',', '}'])?;
                number_before(&rest[..=end], &rest[end..=end])
            });
            outcome.add(kind, number.unwrap_or(0));
            outcome.number += number.unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted() {
        let mut outcome = Outcome::new("countdown", "points of failure");
        count(
            "---- countdown::a stdout ----\nclose: Points { allocations: 54, copies: 21, callbacks: 14 }\n\
             FLBs: Points { allocations: 32, copies: 12, callbacks: 11 }\n",
            &mut outcome,
        );
        assert_eq!(outcome.number, 144);
        let figures: Vec<_> = outcome
            .figures
            .iter()
            .map(|(k, v)| (k.as_str(), *v))
            .collect();
        let expected = [
            ("allocations", 86),
            ("callbacks", 25),
            ("copies", 33),
            ("scenarios", 2),
        ];
        assert_eq!(figures, expected);
    }
}
