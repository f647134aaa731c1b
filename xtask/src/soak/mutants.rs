// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Whether the models of races notice every lock that is taken away.

use anyhow::Result;

use crate::cache::Cache;
use crate::soak::{Budget, Finding, Job, Outcome, Progress, process};
use crate::task::mutants::Trials;

/// The search, which has an end.
#[derive(Debug)]
pub struct Mutants(pub Cache);

impl Job for Mutants {
    fn name(&self) -> &str {
        "mutants"
    }

    fn wants_the_machine(&self) -> bool {
        true
    }

    fn run(&self, _: &Budget, progress: Progress<'_>) -> Result<Outcome> {
        let before = process::used_so_far()?;
        let mut outcome = Outcome::new(self.name(), "mutations killed");
        let trials = Trials::prepare(&self.0)?;
        for mutation in trials.mutations() {
            let survivors = trials.survivors(mutation)?;
            outcome.cpu_seconds = (process::used_so_far()? - before).as_secs_f64();
            if survivors.is_empty() {
                outcome.number += 1;
                outcome.add("failures of models", mutation.killers.len() as u64);
            } else {
                let name = &mutation.name;
                outcome.finding = Some(Finding {
                    message: format!("{name} survived {}", survivors.join(", ")),
                    input: mutation.path.clone(),
                    replay: format!("cargo xtask mutants --filter {name}"),
                });
                break;
            }
            progress(outcome.so_far());
        }
        Ok(outcome)
    }
}
