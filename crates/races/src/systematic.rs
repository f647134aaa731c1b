// SPDX-License-Identifier: GPL-2.0-only

//! A scheduler that leaves out nothing.
//!
//! It is shuttle's depth-first search with two differences. It can be told how often tasks may be
//! interrupted in favour of others: most races need one or two interruptions, and the number of
//! schedules then grows with the length of the model to that power, not exponentially. And the
//! first task, which sets the model up and looks at what is left, runs whenever it can: when it can,
//! the others are not there yet, or at their end.

use kernel::host::is_leaving;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// More schedules take too long for a test.
const MOST: usize = 100_000;

/// The scheduler.
#[derive(Debug)]
pub struct Systematic {
    max_preemptions: usize,
    /// The choices of the previous execution, as far as there was one to be made.
    path: Vec<Choice>,
    /// How many of them this execution has made again.
    depth: usize,
    preemptions: usize,
    executions: usize,
}

#[derive(Debug)]
struct Choice {
    taken: TaskId,
    untried: Vec<TaskId>,
}

impl Systematic {
    /// Tries all schedules with at most so many preemptions.
    #[must_use]
    pub const fn new(max_preemptions: usize) -> Self {
        Self {
            max_preemptions,
            path: Vec::new(),
            depth: 0,
            preemptions: 0,
            executions: 0,
        }
    }

    /// Turns to the next path; `None` if there is no other.
    fn advance(&mut self) -> Option<()> {
        loop {
            let last = self.path.last_mut()?;
            if let Some(next) = last.untried.pop() {
                last.taken = next;
                return Some(());
            }
            self.path.pop();
        }
    }

    fn choose(&mut self, first: TaskId, others: impl Iterator<Item = TaskId>) -> TaskId {
        if self.depth == self.path.len() {
            self.path.push(Choice {
                taken: first,
                untried: others.filter(|it| *it != first).collect(),
            });
        }
        self.depth += 1;
        self.path[self.depth - 1].taken
    }
}

impl Scheduler for Systematic {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.executions > 0 {
            self.advance()?;
        }
        self.executions += 1;
        assert!(
            self.executions <= MOST,
            "more than {MOST} schedules: limit the preemptions"
        );
        self.depth = 0;
        self.preemptions = 0;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let ids = || runnable.iter().map(|it| it.id());
        let first = TaskId::from(0);
        if ids().any(|it| it == first) {
            return Some(first);
        }
        let running = current.filter(|current| ids().any(|it| it == *current));
        let preferred = running.or(ids().next())?;
        if running.is_some() && (self.preemptions == self.max_preemptions || is_leaving()) {
            return running;
        }
        let chosen = match runnable {
            [_] => preferred,
            _ => self.choose(preferred, ids()),
        };
        if running.is_some_and(|it| it != chosen) {
            self.preemptions += 1;
        }
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("no model draws lots")
    }
}

#[cfg(test)]
mod tests {
    use super::Systematic;
    use crate::race;
    use kernel::host::point;
    use shuttle::{Config, Runner};
    use std::{collections::BTreeSet, sync::Arc, sync::Mutex};

    /// The orders in which two tasks of three steps each are seen to run.
    fn orders(max_preemptions: usize) -> (usize, BTreeSet<String>) {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let all = seen.clone();
        let schedules =
            Runner::new(Systematic::new(max_preemptions), Config::new()).run(move || {
                let order = Arc::new(Mutex::new(String::new()));
                let task = |name: char| {
                    let order = order.clone();
                    move || {
                        for _ in 0..3 {
                            order.lock().unwrap().push(name);
                            point();
                        }
                    }
                };
                race(task('a'), task('b'));
                all.lock().unwrap().insert(order.lock().unwrap().clone());
            });
        let seen = seen.lock().unwrap().clone();
        (schedules, seen)
    }

    #[test]
    fn every_order_is_tried() {
        assert_eq!(orders(usize::MAX).1.len(), 20, "6 over 3");
    }

    #[test]
    fn preemptions_are_limited() {
        let expected = ["aaabbb", "bbbaaa"].map(str::to_owned);
        assert_eq!(orders(0), (2, BTreeSet::from(expected)));
        let once = orders(1).1;
        assert!(once.contains("abbbaa") && !once.contains("ababab"));
    }
}
