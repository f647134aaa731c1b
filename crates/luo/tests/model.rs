// SPDX-License-Identifier: GPL-2.0-only

//! Random operations, compared with the model at every step. What fails is made as short as possible.

use luo_model::Op;
use luo_simulation::trial;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use std::cell::Cell;

/// How many sequences of operations there are; the long runs set it.
const CASES: &str = "LUO_MODEL_CASES";

#[test]
fn random_operations_do_what_the_model_says() {
    let cases = std::env::var(CASES).map_or(100, |it| it.parse().expect(CASES));
    let persistence = FileFailurePersistence::WithSource("regressions");
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: Some(Box::new(persistence)),
        source_file: Some(file!()),
        max_shrink_iters: 20_000,
        ..Config::default()
    });
    let nr_ops = Cell::new(0);
    let sequences = vec(any::<Op>(), 1..120);
    let result = runner.run(&sequences, |ops| {
        nr_ops.set(nr_ops.get() + trial::run(&ops));
        Ok(())
    });
    println!("{} operations in {cases} sequences", nr_ops.get());
    if let Err(err) = result {
        panic!("{err}");
    }
}
