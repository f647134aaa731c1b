// SPDX-License-Identifier: GPL-2.0-only

//! Sequences of operations across kexecs, with failures in between, compared with the model at every step.

use arbitrary::{Arbitrary, Unstructured};
use luo_model::Op;
use luo_simulation::trial::{Failure, Trial, can_fail};

/// An operation, which may fail once before.
#[derive(Arbitrary, Debug)]
struct Step {
    op: Op,
    /// What fails, and after how many successes.
    failure: Option<(u8, u8)>,
}

const FAILURES: [Failure; 3] = [Failure::Allocation, Failure::Copy, Failure::Callback];

/// Runs the target on these bytes.
///
/// # Panics
///
/// If anything is wrong.
pub fn run(data: &[u8]) {
    let Ok(steps) = <Vec<Step>>::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut trial = Trial::power_on();
    for Step { op, failure } in steps.iter().take(200) {
        if let Some((failure, successes)) = failure.filter(|_| can_fail(*op)) {
            let failure = FAILURES[usize::from(failure) % FAILURES.len()];
            trial.apply_failing(*op, failure, usize::from(successes % 16));
        }
        trial.apply(*op);
    }
}
