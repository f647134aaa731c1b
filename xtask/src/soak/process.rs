// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Processes, and how long they have had a processor.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What people and the kernel kill with who have nothing against the program: SIGHUP, SIGINT, SIGKILL and SIGTERM.
const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output and error, which its log holds, too.
    pub said: String,
    /// Time of a processor, with that of the children it has waited for.
    pub cpu: Duration,
}

/// Runs a program to its end, even if there is a Ctrl-C meanwhile.
///
/// # Errors
/// It cannot be started, it was killed from outside, or its log cannot be written or read.
pub fn run(command: &mut Command, log: &Path) -> Result<Ended> {
    let program = Path::new(command.get_program()).display().to_string();
    let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot duplicate a file")?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let pid = Pid::from_child(&child);
    // A process that nobody has waited for can still be asked for its time.
    rustix::io::retry_on_intr(|| {
        waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
    })
    .with_context(|| format!("cannot wait for {program}"))?;
    let cpu = used_by(&child.id().to_string());
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {program}"))?;
    let killed = status.signal().filter(|it| FROM_OUTSIDE.contains(it));
    ensure!(killed.is_none(), "{program} was killed: {status}");
    let said = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Ended {
        status,
        said: String::from_utf8_lossy(&said).into_owned(),
        cpu: cpu?,
    })
}

/// The time of a processor that this process has used, with that of the children it has waited for.
///
/// # Errors
/// The kernel does not say.
pub fn used_so_far() -> Result<Duration> {
    used_by("self")
}

fn used_by(pid: &str) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("cannot understand {path}"))?;
    Ok(Duration::from_secs_f64(
        ticks as f64 / clock_ticks_per_second() as f64,
    ))
}

/// `utime`, `stime`, `cutime` and `cstime`; the name before them may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let times = fields.get(11..15)?.iter();
    times.map(|it| it.parse::<u64>().ok()).sum()
}

/// What the last panic said, if there was one.
#[must_use]
pub fn panic_message(said: &str) -> Option<String> {
    let at = said.rfind("panicked at ")?;
    let begin = said[..at].rfind('\n').map_or(0, |it| it + 1);
    let ends = |line: &&str| {
        let line = line.trim();
        !line.starts_with("stack backtrace:")
            && !line.starts_with("note: run with `RUST_BACKTRACE")
            && line != "failures:"
    };
    let lines: Vec<_> = said[begin..].lines().take_while(ends).take(80).collect();
    Some(lines.join("\n").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_and_its_children_counts() {
        let stat = "77 (a b) c) S 1 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 99 1 1";
        assert_eq!(ticks(stat), Some(127));
        assert_eq!(ticks("77 (a) S 1"), None);
    }

    #[test]
    fn what_a_process_did_is_known_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(&mut command, &log)
        };
        let ended = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; exit 3");
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.said, "done\n");
        assert!(ended.cpu > Duration::ZERO);
        assert!(shell("kill -9 $$").is_err());
    }

    #[test]
    fn the_last_panic_is_what_counts() {
        let said = "thread 'a' (1) panicked at x.rs:1:\nfirst\n\
                    thread 'a' (1) panicked at x.rs:9:\nminimal = [\n    1,\n]\n\n\
                    note: run with `RUST_BACKTRACE=1` environment variable\n\nfailures:\n    a\n";
        let message = "thread 'a' (1) panicked at x.rs:9:\nminimal = [\n    1,\n]";
        assert_eq!(panic_message(said).as_deref(), Some(message));
        assert_eq!(panic_message("all is well"), None);
    }
}
