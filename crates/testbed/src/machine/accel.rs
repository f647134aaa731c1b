// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Whether KVM can be used. That /dev/kvm exists says little, and that a boot sector runs says little more: the kernel in
//! question has to print its first lines.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::config;

/// A kernel without a root file system gets to its panic in less than this where KVM works.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator; works everywhere.
    Tcg,
}

impl Accelerator {
    /// QEMU's words for a machine with it and real time.
    ///
    /// Without five-level paging, which an emulated machine of this size has no use for: while the kernel identifies its
    /// processor it forgets for a moment that it has it, and KASAN complains about an interrupt that comes just then.
    pub(super) fn arguments(self) -> &'static str {
        match self {
            Self::Tcg => "-accel tcg,thread=multi -cpu max,la57=off",
            Self::Kvm => "-accel kvm -cpu host",
        }
    }
}

/// The fastest that boots `kernel` here; tried once in a process.
///
/// # Errors
/// When QEMU cannot be started at all.
pub fn best(kernel: &Path) -> Result<Accelerator> {
    static BEST: OnceLock<Accelerator> = OnceLock::new();
    if let Some(best) = BEST.get() {
        return Ok(*best);
    }
    let works = Path::new("/dev/kvm").exists() && boots(Accelerator::Kvm, kernel)?;
    Ok(*BEST.get_or_init(|| {
        if works {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        }
    }))
}

/// Without an initial ramdisk the kernel prints its log, panics, and QEMU ends.
fn boots(accelerator: Accelerator, kernel: &Path) -> Result<bool> {
    let mut qemu = Command::new(config::QEMU)
        .args(accelerator.arguments().split(' '))
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-m",
            "512M",
            "-serial",
            "stdio",
        ])
        .args(["-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(config::qemu_missing)?;
    let mut output = qemu.stdout.take().context("QEMU has no standard output")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output
            .read_to_end(&mut bytes)
            .map(|_| String::from_utf8_lossy(&bytes).contains("Linux version"))
    });
    let deadline = Instant::now() + TIMEOUT;
    let ended = loop {
        match qemu.try_wait()? {
            Some(status) => break status.success(),
            None if Instant::now() >= deadline => break false,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    qemu.kill().ok();
    qemu.wait()?;
    let printed = reader.join().is_ok_and(|printed| printed.unwrap_or(false));
    Ok(ended && printed)
}
