// SPDX-License-Identifier: GPL-2.0-only

//! Operations on a simulated machine, compared with the model at every step.

use crate::driver::Driver;
use luo_model::{Modules, Op, Oracle};

/// A machine and what is known about it.
pub struct Trial {
    driver: Driver,
    oracle: Oracle,
    /// How many operations were carried out and compared.
    pub nr_ops: usize,
}

impl Trial {
    /// Powers a machine on that has all handlers.
    pub fn power_on() -> Self {
        let modules = Modules::All;
        Self {
            driver: Driver::power_on(modules),
            oracle: Oracle::power_on(modules),
            nr_ops: 0,
        }
    }

    /// Does `op`, and checks what comes of it.
    ///
    /// # Panics
    ///
    /// If that is something else than the model says.
    pub fn apply(&mut self, op: Op) {
        for step in op.steps() {
            let expected = self.oracle.apply(step);
            assert_eq!(self.driver.apply(step), expected, "{step:?}");
            assert_eq!(self.driver.view(), self.oracle.view(), "after {step:?}");
            self.nr_ops += 1;
        }
    }
}

/// Does `ops` one after the other on a machine that is powered on for them; gives how many operations that were.
///
/// # Panics
///
/// At the first that does something else than the model says.
pub fn run(ops: &[Op]) -> usize {
    let mut trial = Trial::power_on();
    for op in ops {
        trial.apply(*op);
    }
    trial.nr_ops
}
