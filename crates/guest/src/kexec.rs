// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Loading the next kernel from the payload disk, and going there.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result};
use luo_guest::{
    payload::{self, Directory},
    proto::{Failure, LoadMethod, Outcome, Reply},
};
use rustix::fs::MemfdFlags;

use crate::{
    kexec_legacy,
    slots::{Tried as _, other},
    system,
};

pub(crate) fn load(kernel: &str, initrd: &str, cmdline: &str, method: LoadMethod) -> Outcome {
    let disk = File::open(payload::DEVICE).tried(format!("open {}", payload::DEVICE))?;
    let directory = Directory::read(&disk).tried("read the payload disk's directory")?;
    let kernel = directory.image(&disk, kernel).tried("read the kernel")?;
    let initrd = directory
        .image(&disk, initrd)
        .tried("read the initial ramdisk")?;
    match method {
        LoadMethod::File => file_load(&kernel, &initrd, cmdline)?,
        LoadMethod::Legacy => kexec_legacy::load(&kernel, &initrd, cmdline)?,
    }
    Ok(Reply::Done)
}

fn file_load(kernel: &[u8], initrd: &[u8], cmdline: &str) -> Result<(), Failure> {
    let (kernel, initrd) = (
        memory_file("kernel", kernel)?,
        memory_file("initrd", initrd)?,
    );
    let cmdline = CString::new(cmdline).map_err(|_| other("the command line contains a NUL"))?;
    // SAFETY: the call reads two descriptors and a string whose length, with its NUL, is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            cmdline.as_bytes_with_nul().len(),
            cmdline.as_ptr(),
            0_u64,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error()).tried("kexec_file_load")
    } else {
        Ok(())
    }
}

fn memory_file(name: &str, bytes: &[u8]) -> Result<File, Failure> {
    let mut file =
        File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).tried("memfd_create")?);
    file.write_all(bytes)
        .tried(format!("copy the {name} into memory"))?;
    Ok(file)
}

/// Returns only when the kernel refuses.
pub(crate) fn reboot() -> Outcome {
    // SAFETY: this command of reboot(2) takes no argument; nothing after it runs when it succeeds.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) };
    Err(io::Error::last_os_error()).tried("reboot into the loaded kernel")
}

/// The announcement has long left the serial port when the counter has gone so far, at a thousand million a second.
const NOTICE: u64 = 20_000_000;

/// Announces when it will leave, and then leaves at that moment: so the host learns it without a system call after it.
pub(crate) fn reboot_announced(announce: impl FnOnce(u64) -> Result<()>) -> Outcome {
    let leaving = system::tsc() + NOTICE;
    announce(leaving).map_err(|error| other(format!("{error:#}")))?;
    while system::tsc() < leaving {}
    reboot()
}

/// `payload NAME PATH`: copies an image from the payload disk to a file.
pub(crate) fn copy(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (name, path) = args.next().zip(args.next()).context("payload NAME PATH")?;
    let disk =
        File::open(payload::DEVICE).with_context(|| format!("cannot open {}", payload::DEVICE))?;
    let directory = Directory::read(&disk).context("cannot read the payload disk")?;
    let image = directory.image(&disk, &name)?;
    fs::write(&path, image).with_context(|| format!("cannot write {path}"))
}

/// The command `kexec-now [KERNEL]`: the first kernel of the payload disk, or the one named, with the running one's command line.
pub(crate) fn now(kernel: Option<&str>) -> Result<()> {
    let disk =
        File::open(payload::DEVICE).with_context(|| format!("cannot open {}", payload::DEVICE))?;
    let directory = Directory::read(&disk).context("cannot read the payload disk")?;
    let initrd = "initrd";
    let kernel = match kernel {
        Some(kernel) => kernel,
        None => directory
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .find(|name| *name != initrd)
            .context("there is no kernel on the payload disk")?,
    };
    let cmdline = fs::read_to_string("/proc/cmdline")?;
    println!("kexec-now: loading kernel \"{kernel}\"");
    load(kernel, initrd, cmdline.trim(), LoadMethod::File)
        .and_then(|_| reboot())
        .map(drop)
        .map_err(|failure| anyhow::anyhow!(failure.message))
}
