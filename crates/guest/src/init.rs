// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Process 1: file systems, network, agent or shell, and reaping of orphans.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, mount},
    process::{Resource, Rlimit, WaitOptions},
    system::RebootCommand,
};

use crate::net;

/// On the kernel command line: a shell on the console.
const SHELL_WORD: &str = "luo.shell";
/// As many descriptors as `fs.nr_open` allows without being raised.
const MAX_OPEN_FILES: u64 = 1 << 20;

pub(crate) fn run() -> Result<()> {
    mount_all()?;
    let limit = Rlimit {
        current: Some(MAX_OPEN_FILES),
        maximum: Some(MAX_OPEN_FILES),
    };
    rustix::process::setrlimit(Resource::Nofile, limit)
        .context("cannot raise the limit of open files")?;
    if let Err(error) = net::up() {
        eprintln!("luo-guest: no network: {error:#}");
    }
    let agent = Command::new("/proc/self/exe")
        .arg("agent")
        .spawn()
        .context("cannot start the agent")?;
    let wants_shell = fs::read_to_string("/proc/cmdline")?
        .split_whitespace()
        .any(|word| word == SHELL_WORD);
    let main = if wants_shell { shell()? } else { agent };
    reap_until(&main)?;
    eprintln!(
        "luo-guest: process {} has ended, so does the machine",
        main.id()
    );
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart).context("cannot restart the machine")
}

fn mount_all() -> Result<()> {
    let table = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("debugfs", "/sys/kernel/debug"),
    ];
    for (kind, target) in table {
        fs::create_dir_all(target).ok();
        let mounted = mount(kind, target, kind, MountFlags::empty(), None);
        // A kernel without debugfs is fine for most work.
        if kind != "debugfs" {
            mounted.with_context(|| format!("cannot mount {kind} on {target}"))?;
        }
    }
    Ok(())
}

fn shell() -> Result<Child> {
    let console = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/ttyS0")
        .context("cannot open /dev/ttyS0")?;
    let mut command = Command::new("/bin/sh");
    command
        .arg("-l")
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console);
    command
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("HOME", "/root")
        .env("TERM", "vt100");
    // SAFETY: between fork and exec only these two system calls run, which are safe there.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    command.spawn().context("cannot start /bin/sh")
}

fn reap_until(main: &Child) -> Result<()> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid.as_raw_nonzero().get().cast_unsigned() == main.id() => {
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for children"),
        }
    }
}
