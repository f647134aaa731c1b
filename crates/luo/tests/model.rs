// SPDX-License-Identifier: GPL-2.0-only

//! Random operations, compared with the model at every step. What fails is made as short as possible.

use luo_model::Op;
use luo_simulation::trial::{can_fail, Failure, Trial};
use proptest::{
    collection::vec,
    prelude::{any, Arbitrary},
    sample::Index,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use std::cell::Cell;

/// How many sequences of operations there are; the long runs set it.
const CASES: &str = "LUO_MODEL_CASES";

/// Runs `test` on random sequences of `T`, and says how many operations it has done.
fn on_sequences<T: Arbitrary + Clone>(test: impl Fn(&[T]) -> usize) {
    let cases = std::env::var(CASES).map_or(50, |it| it.parse().expect(CASES));
    let persistence = FileFailurePersistence::WithSource("regressions");
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: Some(Box::new(persistence)),
        source_file: Some(file!()),
        max_shrink_iters: 20_000,
        ..Config::default()
    });
    let nr_ops = Cell::new(0);
    let result = runner.run(&vec(any::<T>(), 1..120), |sequence| {
        nr_ops.set(nr_ops.get() + test(&sequence));
        Ok(())
    });
    println!("{} operations in {cases} sequences", nr_ops.get());
    if let Err(err) = result {
        panic!("{err}");
    }
}

#[test]
fn random_operations_do_what_the_model_says() {
    on_sequences(|ops: &[Op]| {
        let mut trial = Trial::power_on();
        ops.iter().for_each(|it| trial.apply(*it));
        trial.nr_ops
    });
}

#[test]
fn random_failures_change_nothing_and_a_repeat_succeeds() {
    let failures = [Failure::Allocation, Failure::Copy, Failure::Callback];
    on_sequences(|ops: &[(Op, Option<(Index, u8)>)]| {
        let mut trial = Trial::power_on();
        for (op, failure) in ops {
            if let Some((failure, successes)) = failure.filter(|_| can_fail(*op)) {
                trial.apply_failing(*op, *failure.get(&failures), usize::from(successes % 16));
            }
            trial.apply(*op);
        }
        trial.nr_ops
    });
}
