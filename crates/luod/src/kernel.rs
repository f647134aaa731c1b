// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the agent wants of the kernel, apart from retrieving sessions, which is the [vault](crate::vault)'s.

use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use liveupdate::{Device, Incoming, Outgoing, Session, SessionInfo, SessionName, Token};
use rustix::{
    io::Errno,
    system::{RebootCommand, reboot},
};

use crate::{kexec, protocol};

/// The running kernel, or a test's.
pub trait Kernel {
    /// Creates a session for each name, or none at all.
    ///
    /// # Errors
    /// As [`Device::create`].
    fn create(&mut self, name: &SessionName) -> liveupdate::Result<Session<Outgoing>>;
    /// As [`Session::preserve`].
    ///
    /// # Errors
    /// The same.
    fn preserve(
        &self,
        session: &Session<Outgoing>,
        token: Token,
        file: BorrowedFd<'_>,
    ) -> liveupdate::Result<()>;
    /// As [`Session::retrieve`].
    ///
    /// # Errors
    /// The same.
    fn retrieve(&self, session: &Session<Incoming>, token: Token) -> liveupdate::Result<OwnedFd>;
    /// As [`Session::finish`].
    ///
    /// # Errors
    /// The same.
    fn finish(&self, session: &Session<Incoming>) -> liveupdate::Result<()>;
    /// What the kernel shows of a session; none if it shows nothing.
    fn info(&self, session: BorrowedFd<'_>) -> Option<SessionInfo>;
    /// Why there is no live update; none if there is.
    fn unsupported(&self) -> Option<String>;
    /// Whether a next kernel is loaded.
    fn is_loaded(&self) -> bool;
    /// What the previous kernel has left, if this one tells.
    fn incoming(&self) -> Option<protocol::Incoming>;
    /// Whether nothing has happened yet when [`Self::leave`] fails. Otherwise everything has been shut down by then, and a machine
    /// whose kernel is not replaced boots from cold.
    fn leaves_at_once(&self) -> bool {
        true
    }
    /// An update begins: what takes long, and can be done beside it, is begun.
    fn prepare(&self) {}
    /// Replaces the kernel. Comes back with the reason if it cannot be replaced, or with nothing if somebody else is about to.
    fn leave(&mut self) -> Result<(), String>;
}

/// The running kernel.
#[derive(Debug)]
pub struct Linux {
    /// Replaces the kernel in the agent's place, as `systemctl kexec` does.
    pub reboot_command: Option<Vec<String>>,
}

/// How long somebody else may have the device open.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Opens the device, which others open for moments too.
///
/// # Errors
/// As [`Device::open`].
pub fn open_device() -> liveupdate::Result<Device> {
    let deadline = Instant::now() + DEVICE_TIMEOUT;
    loop {
        match Device::open() {
            Err(err) if err.errno == Errno::BUSY && Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

impl Kernel for Linux {
    fn create(&mut self, name: &SessionName) -> liveupdate::Result<Session<Outgoing>> {
        open_device()?.create(name)
    }

    fn preserve(
        &self,
        session: &Session<Outgoing>,
        token: Token,
        file: BorrowedFd<'_>,
    ) -> liveupdate::Result<()> {
        session.preserve(token, file)
    }

    fn retrieve(&self, session: &Session<Incoming>, token: Token) -> liveupdate::Result<OwnedFd> {
        session.retrieve(token)
    }

    fn finish(&self, session: &Session<Incoming>) -> liveupdate::Result<()> {
        session.finish()
    }

    fn info(&self, session: BorrowedFd<'_>) -> Option<SessionInfo> {
        SessionInfo::of(session).ok().flatten()
    }

    fn unsupported(&self) -> Option<String> {
        match fs::metadata(liveupdate::DEVICE_PATH) {
            Ok(_) => None,
            Err(_) => Some(format!(
                "there is no {}: boot a kernel with CONFIG_LIVEUPDATE by kho=on liveupdate=on",
                liveupdate::DEVICE_PATH
            )),
        }
    }

    fn is_loaded(&self) -> bool {
        kexec::is_loaded() == Some(true)
    }

    fn incoming(&self) -> Option<protocol::Incoming> {
        let left = liveupdate::IncomingInfo::read().ok().flatten()?;
        Some(protocol::Incoming {
            sessions: left.sessions,
            leaked: left.leaked,
            leaked_bytes: left.leaked_pages
                * u64::try_from(rustix::param::page_size()).unwrap_or(0),
        })
    }

    fn leaves_at_once(&self) -> bool {
        self.reboot_command.is_none()
    }

    /// What is still to be written to disks is written while the clients are at work.
    fn prepare(&self) {
        thread::spawn(rustix::fs::sync);
    }

    fn leave(&mut self) -> Result<(), String> {
        rustix::fs::sync();
        let Some(words) = &self.reboot_command else {
            let errno = match reboot(RebootCommand::Kexec) {
                Ok(()) => Errno::IO,
                Err(errno) => errno,
            };
            return Err(refusal(errno, self.is_loaded()));
        };
        if !self.is_loaded() {
            // Service managers reboot instead.
            return Err("no kernel is loaded: use luoctl load".into());
        }
        let (program, arguments) = words.split_first().ok_or("the reboot command is empty")?;
        let status = Command::new(program).args(arguments).status();
        let shown = words.join(" ");
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("\"{shown}\" failed: {status}")),
            Err(err) => Err(format!("cannot run \"{shown}\": {err}")),
        }
    }
}

/// Why `reboot(LINUX_REBOOT_CMD_KEXEC)` came back.
fn refusal(errno: Errno, is_loaded: bool) -> String {
    let hint = match errno {
        Errno::INVAL if !is_loaded => "; no kernel is loaded: use luoctl load",
        Errno::NOEXEC => {
            "; the loaded kernel was not loaded by kexec_file_load(2) and would lose everything: use luoctl load"
        }
        Errno::BUSY => "; a session of the previous kernel is not finished: see luoctl check",
        Errno::PERM => "; luod has to run as root",
        _ => "",
    };
    format!("the kernel refuses to be replaced: {errno}{hint}")
}

/// As `uname -r` gives it.
pub fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Differs from boot to boot.
pub fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_the_way_out() {
        assert!(refusal(Errno::INVAL, false).contains("luoctl load"));
        assert!(!refusal(Errno::INVAL, true).contains("luoctl load"));
        assert!(refusal(Errno::NOEXEC, true).contains("kexec_file_load"));
        assert!(refusal(Errno::BUSY, true).contains("luoctl check"));
    }
}
