// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Programs the host wants run.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use luo_guest::proto::{Exit, Failure, Outcome, Reply};
use rustix::{
    fs::MemfdFlags,
    process::{Pid, Signal},
};

use crate::slots::{Slots, Tried as _, other};

const POLL: Duration = Duration::from_millis(5);

/// Output goes to memory files, not pipes: a daemon that keeps standard output open must not keep the host waiting.
pub(crate) fn run(argv: &[String], env: &[(String, String)], timeout: Duration) -> Outcome {
    let (mut stdout, mut stderr) = (memory_file("stdout")?, memory_file("stderr")?);
    let mut child = command(argv)?
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdout(stdout.try_clone().tried("dup")?)
        .stderr(stderr.try_clone().tried("dup")?)
        .spawn()
        .tried(format!("start {}", argv[0]))?;
    let end = match wait_for(&mut child, timeout)? {
        Some(end) => end,
        None => {
            child.kill().tried(format!("kill {}", argv[0]))?;
            child.wait().tried(format!("wait for {}", argv[0]))?;
            Exit::TimedOut
        }
    };
    Ok(Reply::Exec {
        end,
        stdout: contents(&mut stdout)?,
        stderr: contents(&mut stderr)?,
    })
}

pub(crate) fn spawn(slots: &mut Slots, argv: &[String], log: &str) -> Outcome {
    let output = File::create(log).tried(format!("create {log}"))?;
    let child = command(argv)?
        .stdout(output.try_clone().tried("dup")?)
        .stderr(output)
        .spawn()
        .tried(format!("start {}", argv[0]))?;
    let pid = child.id();
    slots.children.insert(pid, child);
    Ok(Reply::Pid(pid))
}

pub(crate) fn kill(pid: u32, signal: i32) -> Outcome {
    let target =
        Pid::from_raw(pid.cast_signed()).ok_or_else(|| other("process 0 cannot be signalled"))?;
    let signal =
        Signal::from_named_raw(signal).ok_or_else(|| other(format!("no signal {signal}")))?;
    rustix::process::kill_process(target, signal)
        .map(|()| Reply::Done)
        .tried(format!("signal process {pid}"))
}

pub(crate) fn wait(slots: &mut Slots, pid: u32, timeout: Duration) -> Outcome {
    let child = slots
        .children
        .get_mut(&pid)
        .ok_or_else(|| other(format!("{pid} was not spawned here")))?;
    match wait_for(child, timeout)? {
        Some(end) => {
            slots.children.remove(&pid);
            Ok(Reply::Exit(end))
        }
        None => Err(Failure {
            errno: libc::ETIMEDOUT,
            message: format!(
                "process {pid} has not ended within {} ms",
                timeout.as_millis()
            ),
        }),
    }
}

pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

fn command(argv: &[String]) -> Result<Command, Failure> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| other("no program to run"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("HOME", "/root");
    Ok(command)
}

fn wait_for(child: &mut Child, timeout: Duration) -> Result<Option<Exit>, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().tried("wait")? {
            return Ok(Some(exit_of(status)));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn memory_file(name: &str) -> Result<File, Failure> {
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)
        .map(File::from)
        .tried("memfd_create")
}

fn contents(file: &mut File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    file.rewind().tried("rewind")?;
    file.read_to_end(&mut bytes).tried("read output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
