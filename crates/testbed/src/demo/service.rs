// SPDX-License-Identifier: Apache-2.0 OR MIT

//! memcached in the guest, and what an agent does to carry its memory over.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::{
    pattern::Content,
    proto::{Exit, Hello, LoadMethod, MemfdSpec, Op, Pages, Reply},
};

use super::MEMCACHED;
use crate::machine::{INITRD, Machine};

/// memcached's port.
pub(super) const PORT: u16 = 11211;

const MEMORY: &str = "memory";
const META: &str = "meta";
const DEVICE: &str = "device";
const SESSION: &str = "memcached";
const MEMORY_TOKEN: u64 = 1;
const META_TOKEN: u64 = 2;
/// A link to the memory file; memcached writes its notes beside it.
const MEMORY_PATH: &str = "/run/cache";
const META_PATH: &str = "/run/cache.meta";
const LOG_PATH: &str = "/run/memcached.log";
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT_MS: u64 = 20_000;
const CLOCK_TIMEOUT_MS: u64 = 20_000;
/// memcached needs about 250 bytes for a key with its value; twice that leaves room for its size classes.
const BYTES_PER_KEY: u64 = 512;

/// How large the memory file is that so many keys get.
pub fn memory_mib(keys: u32) -> u64 {
    64 + u64::from(keys) * BYTES_PER_KEY / (1 << 20)
}

#[derive(Debug)]
pub(super) struct Service {
    memory_mib: u64,
    pid: u32,
}

impl Service {
    pub(super) fn start(machine: &mut Machine, keys: u32) -> Result<Self> {
        let content = Content::full(0, 0);
        let spec = MemfdSpec {
            content,
            pages: Pages::Small,
            flags: 0,
            seals: 0,
            position: 0,
        };
        done(
            machine,
            Op::MemfdCreate {
                slot: MEMORY.into(),
                spec,
            },
        )?;
        done(
            machine,
            Op::LinkSlot {
                slot: MEMORY.into(),
                path: MEMORY_PATH.into(),
            },
        )?;
        let memory_mib = memory_mib(keys);
        let mut service = Self { memory_mib, pid: 0 };
        service.spawn(machine)?;
        Ok(service)
    }

    pub(super) fn load_kernel(
        &self,
        machine: &mut Machine,
        kernel: &str,
        cmdline: &str,
    ) -> Result<()> {
        let (kernel, initrd, cmdline) = (kernel.into(), INITRD.into(), cmdline.into());
        done(
            machine,
            Op::KexecLoad {
                kernel,
                initrd,
                cmdline,
                method: LoadMethod::File,
            },
        )
    }

    /// A clean stop, in which memcached notes what it needs to go on.
    pub(super) fn stop(&self, machine: &mut Machine) -> Result<()> {
        done(
            machine,
            Op::Kill {
                pid: self.pid,
                signal: libc::SIGUSR1,
            },
        )?;
        match reply(
            machine,
            Op::Wait {
                pid: self.pid,
                timeout_ms: STOP_TIMEOUT_MS,
            },
        )? {
            Reply::Exit(Exit::Code(0)) => Ok(()),
            end => bail!("memcached did not stop cleanly: {end:?}"),
        }
    }

    /// From here on the agent holds the session, and has to live until the kexec.
    pub(super) fn preserve(&self, machine: &mut Machine) -> Result<()> {
        done(
            machine,
            Op::MemfdFromFile {
                slot: META.into(),
                path: META_PATH.into(),
            },
        )?;
        done(
            machine,
            Op::OpenDevice {
                slot: DEVICE.into(),
            },
        )?;
        done(
            machine,
            Op::CreateSession {
                device: DEVICE.into(),
                name: SESSION.into(),
                slot: SESSION.into(),
            },
        )?;
        for (token, file) in [(MEMORY_TOKEN, MEMORY), (META_TOKEN, META)] {
            done(
                machine,
                Op::Preserve {
                    session: SESSION.into(),
                    token,
                    file: file.into(),
                },
            )?;
        }
        done(
            machine,
            Op::Close {
                slot: DEVICE.into(),
            },
        )
    }

    pub(super) fn open_device(&self, machine: &mut Machine) -> Result<()> {
        done(
            machine,
            Op::OpenDevice {
                slot: DEVICE.into(),
            },
        )
    }

    pub(super) fn retrieve(&self, machine: &mut Machine) -> Result<()> {
        done(
            machine,
            Op::RetrieveSession {
                device: DEVICE.into(),
                name: SESSION.into(),
                slot: SESSION.into(),
            },
        )?;
        done(
            machine,
            Op::Close {
                slot: DEVICE.into(),
            },
        )?;
        for (token, file) in [(MEMORY_TOKEN, MEMORY), (META_TOKEN, META)] {
            done(
                machine,
                Op::Retrieve {
                    session: SESSION.into(),
                    token,
                    file: file.into(),
                },
            )?;
        }
        done(
            machine,
            Op::LinkSlot {
                slot: MEMORY.into(),
                path: MEMORY_PATH.into(),
            },
        )?;
        done(
            machine,
            Op::MemfdToFile {
                slot: META.into(),
                path: META_PATH.into(),
            },
        )
    }

    /// memcached refuses memory whose stop is not in the past by its clock, which counts seconds; a kernel that has just booted
    /// has its time from a clock that counts seconds too.
    pub(super) fn wait_for_clock(&self, machine: &mut Machine) -> Result<()> {
        let Reply::Bytes(meta) = reply(
            machine,
            Op::ReadFile {
                path: META_PATH.into(),
            },
        )?
        else {
            bail!("no meta file")
        };
        let stop_time = stop_time(&String::from_utf8_lossy(&meta))?;
        let script = format!("while [ $(date +%s) -le {stop_time} ]; do sleep 0.02; done");
        let argv = vec!["/bin/sh".into(), "-c".into(), script];
        match reply(
            machine,
            Op::Exec {
                argv,
                env: Vec::new(),
                timeout_ms: CLOCK_TIMEOUT_MS,
            },
        )? {
            Reply::Exec {
                end: Exit::Code(0), ..
            } => Ok(()),
            end => bail!(
                "the guest's clock does not reach {stop_time}, when memcached was stopped: {end:?}"
            ),
        }
    }

    pub(super) fn start_again(&mut self, machine: &mut Machine) -> Result<()> {
        self.spawn(machine)
    }

    /// The memory is memcached's again, and the session is over.
    pub(super) fn finish(&self, machine: &mut Machine) -> Result<()> {
        done(
            machine,
            Op::Finish {
                session: SESSION.into(),
            },
        )?;
        done(
            machine,
            Op::Close {
                slot: SESSION.into(),
            },
        )
    }

    fn spawn(&mut self, machine: &mut Machine) -> Result<()> {
        let memory = self.memory_mib.to_string();
        let port = PORT.to_string();
        let argv = [
            MEMCACHED,
            "-u",
            "root",
            "-m",
            &memory,
            "-e",
            MEMORY_PATH,
            "-p",
            &port,
            "-U",
            "0",
            "-v",
        ];
        let argv = argv.iter().map(|&word| word.into()).collect();
        match reply(
            machine,
            Op::Spawn {
                argv,
                log: LOG_PATH.into(),
            },
        )? {
            Reply::Pid(pid) => self.pid = pid,
            other => bail!("memcached was not started: {other:?}"),
        }
        Ok(())
    }
}

/// Goes into the loaded kernel.
pub(super) fn kexec(machine: &mut Machine, timeout: Duration) -> Result<Hello> {
    match machine.kexec(timeout)? {
        Ok(hello) => Ok(hello),
        Err(failure) => bail!(
            "the kernel refuses the kexec with errno {}: {}",
            failure.errno,
            failure.message
        ),
    }
}

fn done(machine: &mut Machine, op: Op) -> Result<()> {
    let what = format!("{op:?}");
    let reply = reply(machine, op)?;
    ensure!(reply == Reply::Done, "{what} gave {reply:?}");
    Ok(())
}

fn reply(machine: &mut Machine, op: Op) -> Result<Reply> {
    let outcome = machine.call(op, STEP_TIMEOUT)?.value;
    outcome.map_err(|failure| anyhow::anyhow!("{} (errno {})", failure.message, failure.errno))
}

/// From memcached's notes: lines of `K` + name + space + value.
fn stop_time(meta: &str) -> Result<u64> {
    let value = meta
        .lines()
        .find_map(|line| line.strip_prefix("Kstop_time "));
    value
        .context("memcached's notes have no stop_time")?
        .parse()
        .context("memcached's stop_time is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_time_is_found_in_memcacheds_notes() {
        assert_eq!(
            stop_time("Tmain\nKcurrent_time 64\nKstop_time 1795432576\nKhashpower 16\n").unwrap(),
            1_795_432_576
        );
        assert!(stop_time("Tmain\n").is_err());
    }
}
