// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the agent tells about the machine, and its files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    time::Duration,
};

use anyhow::{Result, ensure};
use luo_guest::proto::{FREE_PER_CPU, Hello, LogLine, Outcome, Reply};
use rustix::process::{Resource, Rlimit};

use crate::slots::{Slots, Tried as _, other};

pub(crate) fn hello() -> Result<Hello> {
    let name = rustix::system::uname();
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let uptime = read("/proc/uptime")?;
    let seconds: f64 = uptime
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()?;
    Ok(Hello {
        boot_id: read("/proc/sys/kernel/random/boot_id")?,
        release: name.release().to_string_lossy().into_owned(),
        version: name.version().to_string_lossy().into_owned(),
        cmdline: read("/proc/cmdline")?,
        uptime_ms: (seconds * 1000.0) as u64,
        tsc: tsc(),
    })
}

/// How long a process has been at work, in user space and in the kernel.
pub(crate) fn processor_time(pid: i32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls write one value of the type that they are given a pointer to.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    ensure!(!failed, "process {pid} has no clock");
    Ok(Duration::new(
        time.tv_sec.try_into()?,
        time.tv_nsec.try_into()?,
    ))
}

/// The processor's time-stamp counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: every processor that runs this program has the instruction, and the kernel lets programs use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

pub(crate) fn dmesg() -> Outcome {
    let path = "/dev/kmsg";
    let mut kmsg = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .tried("open /dev/kmsg")?;
    let mut lines = Vec::new();
    let mut record = [0; 8192];
    loop {
        match kmsg.read(&mut record) {
            Ok(length) => lines.extend(parse_record(&String::from_utf8_lossy(&record[..length]))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Reply::Log(lines)),
            // Records were overwritten before they were read; the next read goes on with the oldest there is.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error).tried("read /dev/kmsg"),
        }
    }
}

/// `priority,sequence,microseconds,flags;text`, then lines of ` KEY=value`.
fn parse_record(record: &str) -> Option<LogLine> {
    let (head, rest) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let us = fields.nth(1)?.parse().ok()?;
    Some(LogLine {
        level: (priority & 7) as u8,
        us,
        text: rest.lines().next().unwrap_or_default().to_owned(),
    })
}

const PAGE_KIB: u64 = 4;

pub(crate) fn meminfo() -> Outcome {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").tried("write to drop_caches")?;
    let text = fs::read_to_string("/proc/meminfo").tried("read /proc/meminfo")?;
    let zones = fs::read_to_string("/proc/zoneinfo").tried("read /proc/zoneinfo")?;
    let mut info = parse_meminfo(&text);
    info.insert(FREE_PER_CPU.into(), parse_free_per_cpu(&zones) * PAGE_KIB);
    Ok(Reply::MemInfo(info))
}

/// All free memory by `/proc/zoneinfo`: of the zones, and of the processors.
pub(crate) fn parse_free_kib(zones: &str) -> u64 {
    let free = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pages free"));
    let free: u64 = free
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum();
    (free + parse_free_per_cpu(zones)) * PAGE_KIB
}

/// The sum of the free pages that processors keep for themselves; `MemFree` leaves them out, and they are many.
fn parse_free_per_cpu(zones: &str) -> u64 {
    let counts = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"));
    counts
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

pub(crate) fn parse_meminfo(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((
                name.to_owned(),
                value.split_whitespace().next()?.parse().ok()?,
            ))
        })
        .collect()
}

pub(crate) fn read_file(path: &str) -> Outcome {
    fs::read(path)
        .map(Reply::Bytes)
        .tried(format!("read {path}"))
}

pub(crate) fn write_file(path: &str, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes)
        .map(|()| Reply::Done)
        .tried(format!("write {path}"))
}

pub(crate) fn open_file(slots: &mut Slots, slot: &str, path: &str) -> Outcome {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .tried(format!("open {path}"))?;
    slots.put(slot, file.into());
    Ok(Reply::Done)
}

pub(crate) fn write_slot(slots: &Slots, slot: &str, bytes: &[u8]) -> Outcome {
    let written = rustix::io::write(slots.get(slot)?, bytes).tried(format!("write to {slot}"))?;
    if written == bytes.len() {
        Ok(Reply::Done)
    } else {
        Err(other(format!("{slot} took {written} bytes only")))
    }
}

pub(crate) fn read_slot(slots: &Slots, slot: &str, len: usize) -> Outcome {
    let mut bytes = vec![0; len];
    let read = rustix::io::read(slots.get(slot)?, &mut bytes).tried(format!("read from {slot}"))?;
    bytes.truncate(read);
    Ok(Reply::Bytes(bytes))
}

pub(crate) fn link_slot(slots: &Slots, slot: &str, path: &str) -> Outcome {
    let target = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        slots.get(slot)?.as_raw_fd()
    );
    // The link of an earlier kernel's life cannot be there: /run and /tmp are new at each boot.
    std::os::unix::fs::symlink(&target, path)
        .map(|()| Reply::Done)
        .tried(format!("link {path} to {target}"))
}

pub(crate) fn limit_descriptors(most: u64) -> Outcome {
    let limit = Rlimit {
        current: Some(most),
        ..rustix::process::getrlimit(Resource::Nofile)
    };
    rustix::process::setrlimit(Resource::Nofile, limit)
        .map(|()| Reply::Done)
        .tried(format!("limit descriptors to {most}"))
}

pub(crate) fn fd_info(slots: &Slots, slot: &str) -> Outcome {
    let path = format!("/proc/self/fdinfo/{}", slots.get(slot)?.as_raw_fd());
    fs::read_to_string(&path)
        .map(Reply::Text)
        .tried(format!("read {path}"))
}

pub(crate) fn fd_link(slots: &Slots, slot: &str) -> Outcome {
    let path = format!("/proc/self/fd/{}", slots.get(slot)?.as_raw_fd());
    fs::read_link(&path)
        .map(|target| Reply::Text(target.to_string_lossy().into_owned()))
        .tried(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_record_gives_level_time_and_first_line() {
        let line = parse_record("12,5,1234567,-;luo: broken; really\n SUBSYSTEM=x\n").unwrap();
        assert_eq!(
            (line.level, line.us, line.text.as_str()),
            (4, 1_234_567, "luo: broken; really")
        );
        assert_eq!(parse_record("garbage"), None);
    }

    #[test]
    fn pages_of_all_processors_are_counted() {
        let zones = "Node 0, zone    DMA32\n  pages free 7\n  pagesets\n    cpu: 0\n              count:    12\n\
                     \x20             high:     99\n    cpu: 1\n              count:    30\n";
        assert_eq!(parse_free_per_cpu(zones), 42);
        assert_eq!(parse_free_kib(zones), (7 + 42) * PAGE_KIB);
    }

    #[test]
    fn meminfo_is_read_by_name() {
        let info = parse_meminfo("MemFree:  123 kB\nHugePages_Total:   4\n");
        assert_eq!((info["MemFree"], info["HugePages_Total"]), (123, 4));
    }
}
