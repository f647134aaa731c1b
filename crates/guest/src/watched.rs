// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How much memory an operation takes, and how much it takes for a while.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use luo_guest::proto::{Failure, MemoryUse, Op, Outcome, Reply};

use crate::{
    agent,
    slots::{Slots, Tried as _, other},
    system,
};

const ZONES: &str = "/proc/zoneinfo";
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(100);

/// Does `op` while a thread of real-time priority looks at the free memory: it interrupts system calls too.
pub(crate) fn run(slots: &mut Slots, op: Op) -> Outcome {
    // Caches that are dropped meanwhile would be taken for memory of the operation.
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").tried("write to drop_caches")?;
    let (watching, done) = (Barrier::new(2), AtomicBool::new(false));
    let (outcome, watched) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&watching, &done));
        watching.wait();
        let outcome = agent::run(slots, op);
        done.store(true, Ordering::Relaxed);
        (outcome, watcher.join())
    });
    outcome?;
    let usage = watched.map_err(|_| other("the watching thread panicked"))??;
    Ok(Reply::MemoryUse(usage))
}

fn watch(watching: &Barrier, done: &AtomicBool) -> Result<MemoryUse, Failure> {
    let first = become_real_time()
        .tried("sched_setscheduler")
        .and_then(|()| File::open(ZONES).tried(ZONES))
        .and_then(|zones| Ok((free_kib(&zones)?, zones)));
    watching.wait();
    let (before_kib, zones) = first?;
    let (mut lowest_kib, mut samples) = (before_kib, 0);
    loop {
        let ended = done.load(Ordering::Relaxed);
        let now_kib = free_kib(&zones)?;
        lowest_kib = lowest_kib.min(now_kib);
        samples += 1;
        if ended {
            return Ok(MemoryUse {
                before_kib,
                after_kib: now_kib,
                lowest_kib,
                samples,
            });
        }
        thread::sleep(PAUSE);
    }
}

fn free_kib(zones: &File) -> Result<u64, Failure> {
    let mut text = [0; 16 << 10];
    let mut length = 0;
    loop {
        match zones.read_at(&mut text[length..], length as u64) {
            Ok(0) if length == text.len() => return Err(other(format!("{ZONES} is too long"))),
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) => return Err(error).tried(ZONES),
        }
    }
    Ok(system::parse_free_kib(&String::from_utf8_lossy(
        &text[..length],
    )))
}

fn become_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the structure, which lives as long as it.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
