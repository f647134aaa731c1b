// SPDX-License-Identifier: GPL-2.0-only

//! Everything that can fail fails once, at every possible point.

use crate::trial::{Failure, Trial, can_fail};
use luo_model::Op;

/// How often something has failed, by what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Points {
    /// Allocations.
    pub allocations: usize,
    /// Copies from and to user memory.
    pub copies: usize,
    /// Callbacks of handlers and FLBs.
    pub callbacks: usize,
}

/// Does `before` and then `scenario` on one machine after the other. On each, one thing fails, once, in a step of `scenario`; that
/// step is then repeated, and the rest goes its way.
///
/// # Panics
///
/// If anything else happens than what the model says.
pub fn fail_everywhere(before: &[Op], scenario: &[Op]) -> Points {
    let steps: Vec<Op> = scenario.iter().flat_map(|it| it.steps()).collect();
    let run = |failing: usize, failure, successes| {
        let mut trial = Trial::power_on();
        trial.apply_all(before);
        trial.apply_all(&steps[..failing]);
        let has_failed = trial.apply_failing(steps[failing], failure, successes);
        if has_failed {
            steps[failing..].iter().for_each(|it| trial.apply(*it));
        }
        has_failed
    };
    let count = |failure| {
        let points = |step| (0..).take_while(|it| run(step, failure, *it)).count();
        let failing = (0..steps.len()).filter(|it| can_fail(steps[*it]));
        failing.map(points).sum()
    };
    Points {
        allocations: count(Failure::Allocation),
        copies: count(Failure::Copy),
        callbacks: count(Failure::Callback),
    }
}
