// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Operations whose process is killed in the middle.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    thread,
    time::Duration,
};

use luo_guest::proto::{Failure, Op, Outcome, Reply};
use rustix::{
    pipe::PipeFlags,
    process::{Pid, Signal, WaitOptions},
};

use crate::{
    agent,
    slots::{Slots, Tried as _, other},
    system::processor_time,
};

/// A process that was killed too late this often cannot be killed in time.
const ATTEMPTS: u32 = 4;

/// How often it is looked how long a process has run, and how many times at most: it may wait for something.
const LOOK: Duration = Duration::from_micros(100);
const LOOKS: u32 = 10_000;

/// Waits until a process has run so much longer: on a busy host another processor may be far ahead of it.
fn let_run(pid: Pid, longer: Duration) {
    // Nothing if it has ended.
    let time = || processor_time(pid.as_raw_pid()).ok();
    let Some(begun) = time() else { return };
    for _ in 0..LOOKS {
        match time() {
            Some(now) if now - begun < longer => thread::sleep(LOOK),
            _ => return,
        }
    }
}

/// Forks a process for `op`, and kills it when it has run for so long.
pub(crate) fn run(slots: &mut Slots, op: Op, after_us: u64) -> Outcome {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).tried("pipe")?;
    let (mut begun, mut begins) = (File::from(read), File::from(write));
    // SAFETY: the agent has one thread, so the child's memory is consistent and no lock is held in it.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        begins.write_all(b"!").ok();
        agent::run(slots, op).ok();
        std::process::exit(0);
    }
    let pid = Pid::from_raw(pid.max(0))
        .ok_or_else(std::io::Error::last_os_error)
        .tried("fork")?;
    begun.read_exact(&mut [0]).tried("read from child")?;
    let_run(pid, Duration::from_micros(after_us));
    rustix::process::kill_process(pid, Signal::KILL).tried("kill")?;
    rustix::process::waitpid(Some(pid), WaitOptions::empty())
        .tried("wait for child")?
        .ok_or_else(|| other("the child vanished"))?;
    Ok(Reply::Done)
}

/// Has a process killed during `op`, and then does it; [`Op::RepeatedAfterKill`].
pub(crate) fn repeated(slots: &mut Slots, op: &Op, undo: &[Op], after_us: u64) -> Outcome {
    let mut attempt = 0;
    loop {
        attempt += 1;
        run(slots, op.clone(), after_us)?;
        match agent::run(slots, op.clone()) {
            Err(Failure {
                errno: libc::EEXIST,
                ..
            }) if attempt < ATTEMPTS => {
                for op in undo {
                    agent::run(slots, op.clone())?;
                }
            }
            outcome => return outcome,
        }
    }
}
