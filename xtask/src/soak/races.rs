// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The models of races, each in a process of its own, since every schedule leaves about 6 KiB behind.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::soak::program::{self, Program, Selection, number_before};
use crate::soak::{Budget, Job, Outcome, Progress};

/// How many schedules a process draws by lot, evenly and by priorities each.
const SAMPLES: u32 = 50_000;

/// The search. Models of which every schedule is tried are tried once, the others as long as there is time.
#[derive(Debug)]
pub struct Races(pub Program);

impl Job for Races {
    fn name(&self) -> &str {
        "races"
    }

    fn run(&self, budget: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new(self.name(), "schedules");
        let mut models = self.0.tests()?;
        let mut first = true;
        while !models.is_empty() && (first || outcome.goes_on(budget)) {
            let mut drawn = BTreeSet::new();
            for model in &models {
                let selection = Selection {
                    filter: model.clone(),
                    exact: true,
                    variables: vec![
                        ("LUO_RACES_SAMPLES", SAMPLES.to_string()),
                        ("SHUTTLE_RANDOM_SEED", program::seed()?),
                    ],
                };
                let said = self.0.run(&selection, &mut outcome)?;
                if outcome.finding.is_some() {
                    return Ok(outcome);
                }
                let schedules = Schedules::of(&said);
                ensure!(
                    schedules.all + schedules.some > 0,
                    "{model} does not say how many schedules it tried"
                );
                outcome.number += schedules.drawn;
                if first {
                    outcome.number += schedules.all + schedules.some;
                    outcome.add("schedules, all of their models", schedules.all);
                    outcome.add("schedules, all with few preemptions", schedules.some);
                    outcome.add("models", 1);
                    outcome.add("models in all schedules", u64::from(schedules.some == 0));
                }
                outcome.add("schedules drawn by lot", schedules.drawn);
                if schedules.drawn > 0 {
                    drawn.insert(model.clone());
                }
                progress(outcome.so_far());
                if budget.is_stopped() || (!first && !outcome.goes_on(budget)) {
                    break;
                }
            }
            models = drawn.into_iter().collect();
            first = false;
        }
        Ok(outcome)
    }
}

/// The schedules that a model was tried in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Schedules {
    /// All there are.
    all: u64,
    /// All with a few preemptions.
    some: u64,
    /// Drawn by lot.
    drawn: u64,
}

impl Schedules {
    fn of(said: &str) -> Self {
        let mut schedules = Self::default();
        for line in said.lines() {
            let Some(number) = number_before(line, " schedules, ") else {
                continue;
            };
            if line.contains("drawn by lot") {
                schedules.drawn += number;
            } else if line.ends_with(" all there are") {
                schedules.all += number;
            } else {
                schedules.some += number;
            }
        }
        schedules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_counted() {
        let said = "flb::a: 2058 schedules, all with 4 preemptions\n\
                    flb::a: 40000 schedules, drawn by lot, others each time\n\
                    main: 17 schedules, all there are\ntest result: ok.\n";
        let (all, some, drawn) = (17, 2058, 40_000);
        assert_eq!(Schedules::of(said), Schedules { all, some, drawn });
    }
}
