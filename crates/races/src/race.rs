// SPDX-License-Identifier: GPL-2.0-only

//! Tasks that run at the same time.

use shuttle::{
    future::batch_semaphore::{BatchSemaphore, Fairness},
    thread,
};
use std::{panic, sync::Arc};

/// Lets both tasks run at the same time; gives what they gave.
///
/// The calling task waits until both are done, and is no part of the race.
///
/// # Panics
///
/// If one of the tasks does.
pub fn race<A, B>(
    a: impl FnOnce() -> A + Send + 'static,
    b: impl FnOnce() -> B + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let done = Arc::new(BatchSemaphore::new(0, Fairness::StrictlyFair));
    let a = start(a, done.clone());
    let b = start(b, done.clone());
    done.acquire_blocking(2).expect("nobody closes it");
    (result(a), result(b))
}

fn start<R: Send + 'static>(
    task: impl FnOnce() -> R + Send + 'static,
    done: Arc<BatchSemaphore>,
) -> thread::JoinHandle<R> {
    thread::spawn(move || {
        let result = task();
        done.release(1);
        result
    })
}

fn result<R>(task: thread::JoinHandle<R>) -> R {
    task.join().unwrap_or_else(|err| panic::resume_unwind(err))
}
