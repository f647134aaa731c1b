// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Random operations against the model, with and without failures, in rounds: a simulated machine that is switched off keeps
//! what a real one would, so each round is a process of its own.

use anyhow::{Result, ensure};

use crate::soak::program::{self, Program, Selection};
use crate::soak::{Budget, Job, Outcome, Progress};

/// How many sequences of operations a round tries, of each kind.
const ROUND: u32 = 10_000;

/// The search.
#[derive(Debug)]
pub struct Model(pub Program);

impl Job for Model {
    fn name(&self) -> &str {
        "model"
    }

    fn run(&self, budget: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new(self.name(), "operations");
        while outcome.goes_on(budget) {
            let selection = Selection {
                filter: "model::random".into(),
                exact: false,
                variables: vec![
                    ("LUO_MODEL_CASES", ROUND.to_string()),
                    ("PROPTEST_RNG_SEED", program::seed()?),
                ],
            };
            let said = self.0.run(&selection, &mut outcome)?;
            let (operations, sequences) = count(&said);
            ensure!(
                operations > 0 || outcome.finding.is_some(),
                "the model's tests do not say what they did"
            );
            outcome.number += operations;
            outcome.add("sequences", sequences);
            progress(outcome.so_far());
        }
        Ok(outcome)
    }
}

/// The operations and sequences of a round.
fn count(said: &str) -> (u64, u64) {
    let counts = said.lines().filter_map(|line| {
        let operations = program::number_before(line, " operations in ")?;
        Some((operations, program::number_before(line, " sequences")?))
    });
    counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted() {
        let said = "successes:\n\n---- model::a stdout ----\n206326 operations in 1000 sequences\n\n\
                    ---- model::b stdout ----\n196972 operations in 1000 sequences\n\n";
        assert_eq!(count(said), (403_298, 2000));
    }
}
