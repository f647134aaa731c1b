// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Serves the protocol on the second serial port.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use luo_guest::proto::{AGENT_TTY, FromGuest, Op, Outcome, Reply, Request};
use rustix::termios::{OptionalActions, Termios, speed};

use crate::{
    actor, bulk, child, exec, kexec, killed, luo, memfd, slots::Slots, survey, system, watched,
};

pub(crate) fn serve() -> Result<()> {
    let mut port = File::options()
        .read(true)
        .write(true)
        .open(AGENT_TTY)
        .context(AGENT_TTY)?;
    make_raw(&port).with_context(|| format!("cannot set up {AGENT_TTY}"))?;
    let mut requests = BufReader::with_capacity(64 << 10, port.try_clone()?);
    send(&mut port, &FromGuest::Ready(system::hello()?))?;
    let mut slots = Slots::default();
    let mut line = String::new();
    loop {
        line.clear();
        if requests
            .read_line(&mut line)
            .with_context(|| format!("cannot read {AGENT_TTY}"))?
            == 0
        {
            anyhow::bail!("{AGENT_TTY} has ended");
        }
        let Request { id, op } =
            serde_json::from_str(&line).with_context(|| format!("not a request: {line:?}"))?;
        let started = Instant::now();
        let outcome = match op {
            Op::KexecAnnounced => {
                kexec::reboot_announced(|tsc| send(&mut port, &FromGuest::Leaving { tsc }))
            }
            op => run(&mut slots, op),
        };
        let ns = started.elapsed().as_nanos() as u64;
        send(&mut port, &FromGuest::Reply { id, ns, outcome })?;
    }
}

fn make_raw(port: &File) -> Result<()> {
    let mut settings: Termios = rustix::termios::tcgetattr(port)?;
    settings.make_raw();
    settings.set_speed(speed::B115200)?;
    rustix::termios::tcsetattr(port, OptionalActions::Flush, &settings)?;
    Ok(())
}

fn send(port: &mut File, message: &FromGuest) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    port.write_all(&line)
        .with_context(|| format!("cannot write to {AGENT_TTY}"))
}

/// Does one operation; also what a forked process runs.
pub(crate) fn run(slots: &mut Slots, op: Op) -> Outcome {
    match op {
        Op::Hello => system::hello()
            .map(Reply::Hello)
            .map_err(|error| crate::slots::other(format!("{error:#}"))),
        Op::Exec {
            argv,
            env,
            timeout_ms,
        } => exec::run(&argv, &env, Duration::from_millis(timeout_ms)),
        Op::Spawn { argv, log } => exec::spawn(slots, &argv, &log),
        Op::Kill { pid, signal } => exec::kill(pid, signal),
        Op::Wait { pid, timeout_ms } => exec::wait(slots, pid, Duration::from_millis(timeout_ms)),
        Op::Dmesg => system::dmesg(),
        Op::ReadFile { path } => system::read_file(&path),
        Op::WriteFile { path, bytes } => system::write_file(&path, &bytes),
        Op::MemInfo => system::meminfo(),
        Op::Sleep { ms } => {
            std::thread::sleep(Duration::from_millis(ms));
            Ok(Reply::Done)
        }
        Op::KexecLoad {
            kernel,
            initrd,
            cmdline,
            method,
        } => kexec::load(&kernel, &initrd, &cmdline, method),
        Op::Kexec => kexec::reboot(),
        Op::InChild {
            ops,
            then,
            timeout_ms,
        } => child::run(slots, ops, then, Duration::from_millis(timeout_ms)),
        Op::KexecAnnounced => Err(crate::slots::other(
            "only the agent itself can announce a kexec",
        )),
        Op::KilledDuring { op, after_us } => killed::run(slots, *op, after_us),
        Op::RepeatedAfterKill { op, undo, after_us } => {
            killed::repeated(slots, &op, &undo, after_us)
        }
        Op::Watched(op) => watched::run(slots, *op),
        Op::In { process, op } => actor::run(slots, process, &op),
        Op::Crash { process } => actor::crash(slots, process),
        Op::LimitDescriptors { most } => system::limit_descriptors(most),
        Op::Bulk(bulk) => bulk::run(slots, bulk),
        Op::PreserveAll { list } => survey::preserve_all(slots, &list),
        Op::Survey { list } => survey::run(&list),
        Op::MemfdCreate { .. }
        | Op::MemfdVerify { .. }
        | Op::MemfdSeal { .. }
        | Op::UseMemfd { .. }
        | Op::MemfdFromFile { .. }
        | Op::MemfdToFile { .. } => memfd::run(slots, op),
        Op::OpenFile { slot, path } => system::open_file(slots, &slot, &path),
        Op::WriteSlot { slot, bytes } => system::write_slot(slots, &slot, &bytes),
        Op::ReadSlot { slot, len } => system::read_slot(slots, &slot, len),
        Op::LinkSlot { slot, path } => system::link_slot(slots, &slot, &path),
        Op::FdInfo { slot } => system::fd_info(slots, &slot),
        Op::FdLink { slot } => system::fd_link(slots, &slot),
        Op::Close { slot } => slots.close(&slot).map(|()| Reply::Done),
        Op::OpenDevice { .. }
        | Op::AwaitDevice { .. }
        | Op::CreateSession { .. }
        | Op::RetrieveSession { .. }
        | Op::Preserve { .. }
        | Op::Retrieve { .. }
        | Op::Finish { .. }
        | Op::GetName { .. }
        | Op::Ioctl { .. } => luo::run(slots, op),
    }
}
