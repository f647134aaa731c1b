// SPDX-License-Identifier: GPL-2.0-only

//! Operations on a simulated machine, compared with the model at every step.

use crate::driver::Driver;
use kernel::host;
use luo_model::{Errno, Modules, Op, Oracle, View};

/// What the kernel calls and what can fail there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An allocation.
    Allocation,
    /// A copy from or to user memory.
    Copy,
    /// A callback of a handler or an FLB.
    Callback,
}

/// Whether `step` is work of LUO's that a single failure can befall, and the model knows which. A machine that boots is another
/// one, and a crash may have several sessions finished.
pub fn can_fail(step: Op) -> bool {
    !matches!(
        step,
        Op::MakeFile { .. } | Op::Jump { .. } | Op::Crash { .. }
    ) && step.steps().len() == 1
}

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
        self.apply_all(&[op]);
    }

    /// Does `ops` one after the other, checks the outcome of each, and at the end what can be seen then.
    ///
    /// # Panics
    ///
    /// If that is something else than the model says.
    pub fn apply_all(&mut self, ops: &[Op]) {
        for step in ops.iter().flat_map(|it| it.steps()) {
            let expected = self.oracle.apply(step);
            assert_eq!(self.driver.apply(step), expected, "{step:?}");
            self.nr_ops += 1;
        }
        let (seen, expected) = (self.driver.view(), self.oracle.view());
        assert_eq!(seen, expected, "after {:?}", ops.last());
    }

    /// Does `step`, one of those that [`can_fail`], while something fails once, after so many `successes`. Returns
    /// whether it came to that; if not, `step` is done as ever.
    ///
    /// What comes of it is done, or unchanged so that it can be repeated, or what the model says about a callback that refuses.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub fn apply_failing(&mut self, step: Op, failure: Failure, successes: usize) -> bool {
        self.nr_ops += 1;
        self.arm(failure, Some(successes));
        let outcome = self.driver.apply(step);
        let has_failed = self.arm(failure, None).is_none();
        let mut done = self.oracle.clone();
        let expected = match self.driver.refused_callback() {
            Some(callback) => done.apply_refusing(step, callback),
            None => done.apply(step),
        };
        let view = self.driver.view();
        let errno = match failure {
            Failure::Allocation if has_failed => Some(Errno::ENOMEM),
            Failure::Copy if has_failed => Some(Errno::EFAULT),
            _ => None,
        };
        let what = format!("{step:?}, {failure:?} fails after {successes}");
        if outcome == expected && view == done.view() {
            self.oracle = done;
        } else if errno.is_some_and(|it| outcome == Err(it)) {
            let mut candidates = self.candidates(step, failure).into_iter();
            let matching = candidates.find(|it| is_unchanged(&view, &it.view(), &done.view()));
            let before = self.oracle.view();
            self.oracle =
                matching.unwrap_or_else(|| panic!("{what}: {before:?} has become {view:?}"));
        } else {
            panic!(
                "{what}: {outcome:?} {view:?}, not {expected:?} {:?}",
                done.view()
            );
        }
        has_failed
    }

    fn arm(&self, failure: Failure, successes: Option<usize>) -> Option<usize> {
        match failure {
            Failure::Allocation => host::fail_allocation(successes),
            Failure::Copy => host::fail_copy(successes),
            Failure::Callback => self.driver.fail_callback(successes),
        }
    }

    /// What a step may leave that has failed: everything as it was; the sessions of the previous kernel read; or everything
    /// as after a step whose answer could not be written.
    fn candidates(&self, step: Op, failure: Failure) -> Vec<Oracle> {
        let mut read = self.oracle.clone();
        read.read_sessions();
        let mut candidates = vec![self.oracle.clone(), read];
        let mut unanswered = self.oracle.clone();
        if failure == Failure::Copy && unanswered.apply(step.unwritable()) == Err(Errno::EFAULT) {
            candidates.push(unanswered);
        }
        candidates
    }
}

/// Whether a machine is `now` as `before`. Only of handlers it may already hold some that it holds when the step is `done`: a session
/// is read file by file, and a repeat goes on from there.
fn is_unchanged(now: &View, before: &View, done: &View) -> bool {
    let held_between = |it: usize| {
        let [now, before, done] = [now, before, done].map(|view| view.handler_refs[it]);
        now == before || (before..=done).contains(&now)
    };
    let now = View {
        handler_refs: before.handler_refs,
        ..now.clone()
    };
    now == *before && held_between(0) && held_between(1)
}
