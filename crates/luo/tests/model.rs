// SPDX-License-Identifier: GPL-2.0-only

//! Random operations, compared with the model at every step. What fails is made as short as possible.

use luo_model::{Direction, File, Flb, Handler, Name, Obstacle, Op, Process, Session, Token};
use luo_simulation::trial::{can_fail, Failure, Trial};
use proptest::{
    collection::vec,
    prelude::{any, Arbitrary},
    sample::Index,
    test_runner::{Config, TestRunner},
};
use std::cell::Cell;

/// How many sequences of operations there are; the long runs set it.
const CASES: &str = "LUO_MODEL_CASES";

/// Runs `test` on random sequences of `T`, and says how many operations it has done.
fn on_sequences<T: Arbitrary + Clone>(test: impl Fn(&[T]) -> usize) {
    let cases = std::env::var(CASES).map_or(100, |it| it.parse().expect(CASES));
    let mut runner = TestRunner::new(Config {
        cases,
        // What is found goes into the list below: a seed would be of no use after the next change of the operations.
        failure_persistence: None,
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

/// Sequences that failed once, as they are printed, each with the incident.
#[test]
fn what_failed_once_does_not_fail_again() {
    let (process, name, obstacle) = (Process(0), Name(0), Obstacle::None);
    let (file, handler, token) = (File(0), Handler(1), Token(0));
    let (direction, flb) = (Direction::Outgoing, Flb(0));
    let sequences = [
        // The object of an FLB was lost with the module of the last handler that was linked to it, although somebody had
        // borrowed it.
        vec![
            Op::Unload {
                handler: Handler(0),
            },
            Op::Create {
                process,
                name,
                obstacle,
            },
            Op::MakeFile {
                process,
                file,
                handler,
            },
            Op::Preserve { name, file, token },
            Op::Borrow { direction, flb },
            Op::Close {
                session: Session { direction, name },
            },
            Op::Unload { handler },
            Op::Borrow { direction, flb },
            Op::GiveBack { direction, flb },
            Op::GiveBack { direction, flb },
        ],
    ];
    for sequence in sequences {
        let mut trial = Trial::power_on();
        sequence.into_iter().for_each(|it| trial.apply(it));
    }
}
