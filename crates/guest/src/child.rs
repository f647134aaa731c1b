// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Operations in a forked process: an agent that dies, or one that blocks in the kernel while others go on.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::ExitStatus,
    time::{Duration, Instant},
};

use luo_guest::proto::{Ending, Failure, Op, Outcome, Reply};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    pipe::PipeFlags,
    process::{Pid, Signal, WaitOptions},
};

use crate::{
    agent, exec,
    slots::{Slots, Tried as _, other},
};

/// The child's outcomes come through a pipe, a JSON line each; the pipe's end says that there are no more.
pub(crate) fn run(slots: &mut Slots, ops: Vec<Op>, then: Ending, timeout: Duration) -> Outcome {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).tried("pipe")?;
    // SAFETY: the agent has one thread, so the child's memory is consistent and no lock is held in it.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(read);
        in_child(slots, ops, then, write);
    }
    drop(write);
    let pid = Pid::from_raw(pid.max(0))
        .ok_or_else(std::io::Error::last_os_error)
        .tried("fork")?;
    let (text, ended) = read_until_end(&File::from(read), timeout)?;
    let outcomes = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            serde_json::from_str(line)
                .map_err(|error| other(format!("child said {line:?}: {error}")))
        })
        .collect::<Result<Vec<Outcome>, Failure>>()?;
    let end = if ended && then != Ending::Stay {
        Some(reap(pid)?)
    } else {
        None
    };
    Ok(Reply::Child {
        pid: pid.as_raw_nonzero().get().cast_unsigned(),
        outcomes,
        end,
    })
}

fn in_child(slots: &mut Slots, ops: Vec<Op>, then: Ending, outcomes: OwnedFd) -> ! {
    let mut outcomes = File::from(outcomes);
    for op in ops {
        let mut line = serde_json::to_vec(&agent::run(slots, op)).unwrap_or_default();
        line.push(b'\n');
        if outcomes.write_all(&line).is_err() {
            break;
        }
    }
    drop(outcomes);
    match then {
        Ending::Exit => {}
        Ending::Kill9 => {
            rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).ok();
        }
        Ending::Stay => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
    }
    std::process::exit(0);
}

fn read_until_end(pipe: &File, timeout: Duration) -> Result<(String, bool), Failure> {
    let deadline = Instant::now() + timeout;
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let ready = rustix::event::poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left))
            .tried("poll")?;
        if ready == 0 {
            return Ok((String::from_utf8_lossy(&text).into_owned(), false));
        }
        let mut piece = [0; 4096];
        let length = { pipe }.read(&mut piece).tried("read from child")?;
        if length == 0 {
            return Ok((String::from_utf8_lossy(&text).into_owned(), true));
        }
        text.extend_from_slice(&piece[..length]);
    }
}

fn reap(pid: Pid) -> Result<luo_guest::proto::Exit, Failure> {
    let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty())
        .tried("wait for child")?
        .ok_or_else(|| other("the child vanished"))?;
    Ok(exec::exit_of(ExitStatus::from_raw(status.as_raw())))
}
