// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Emulated machines: QEMU with the console kept, the agent on the second serial port, a payload disk and a network.

mod accel;
mod agent;
mod config;
mod console;
mod debugged;
pub mod gdb;
mod leave;
pub mod qmp;
pub mod snapshot;

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::{
        net::UnixListener,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use luo_guest::{
    payload,
    proto::{Failure, FromGuest, Hello, Op, Outcome},
};
use rustix::process::{Pid, Resource, Rlimit};
use tempfile::TempDir;

pub use accel::{Accelerator, best as best_accelerator};
pub use agent::Timed;
pub use config::{Clock, INITRD, Kernel, MachineConfig};
pub use console::{Console, Line};
pub use debugged::STOP_NS;
pub use leave::Left;

use crate::watch;

/// How often a wait looks whether the machine still lives.
const POLL: Duration = Duration::from_millis(20);

/// A running machine. Dropping it ends QEMU.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    console: Console,
    agent: agent::Link,
    ports: Vec<(u16, u16)>,
    hello: Hello,
    /// Sockets and the payload disk.
    files: TempDir,
}

/// What was waited for has not come in time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoAnswer(String);

impl Machine {
    /// Starts QEMU and waits until the agent answers.
    ///
    /// # Errors
    /// When QEMU cannot be started, or the kernel does not reach the agent in time, twice; then the console's last lines are in
    /// the error.
    pub fn boot(config: &MachineConfig) -> Result<Self> {
        match Self::boot_once(config) {
            // An emulated machine with several processors hangs now and then while its devices are looked for, long before
            // live update has anything to do. A kernel that is to blame does it again.
            Err(error) if error.is::<NoAnswer>() => {
                let log = config.log.display();
                eprintln!("note: the machine of {log} hangs while it boots; starting it once more");
                Self::boot_once(config)
            }
            booted => booted,
        }
    }

    fn boot_once(config: &MachineConfig) -> Result<Self> {
        let prepared = Prepared::new(config, &[])?.debugged(config.debugged);
        let mut machine = Self::start(prepared, &config.log)?;
        machine.hello = machine.await_ready(config.boot_timeout())?.value;
        Ok(machine)
    }

    /// Starts QEMU with the devices of a machine that has an agent, and waits for neither kernel nor agent.
    fn start(prepared: Prepared, log: &Path) -> Result<Self> {
        let Prepared {
            files,
            disk,
            ports,
            mut command,
        } = prepared;
        let socket = files.path().join("agent");
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot make {}", socket.display()))?;
        command.args(config::device_arguments(&socket, &disk));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut qemu = spawn_with_us(&mut command)?;
        let console = Console::keep(&mut qemu, log)?;
        let agent = agent::Link::accept(&listener, &mut qemu, &console)?;
        Ok(Self {
            qemu,
            console,
            agent,
            ports,
            hello: agent::nobody(),
            files,
        })
    }

    /// Has the agent do something; its failure is an ordinary result.
    ///
    /// # Errors
    /// When the machine dies or does not answer in time.
    pub fn call(&mut self, op: Op, timeout: Duration) -> Result<Timed<Outcome>> {
        let what = format!("{op:?}");
        let id = self.agent.send(op)?;
        self.await_message(timeout, &what, |message| match message {
            FromGuest::Reply {
                id: of,
                ns,
                outcome,
            } if of == id => Some((outcome, Some(ns))),
            _ => None,
        })
    }

    /// Waits until the agent of a machine that was not booted here says that it is ready.
    ///
    /// # Errors
    /// When the machine dies or is not ready in time.
    pub fn wait_until_ready(&mut self, timeout: Duration) -> Result<()> {
        self.hello = self.await_ready(timeout)?.value;
        Ok(())
    }

    /// Has the agent do something, and waits for nothing.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn send(&mut self, op: Op) -> Result<()> {
        self.agent.send(op).map(drop)
    }

    /// Goes into the loaded kernel and waits for its agent. The inner error is the old kernel's refusal.
    ///
    /// # Errors
    /// When the machine dies on the way, or neither happens in time.
    pub fn kexec(&mut self, timeout: Duration) -> Result<Result<Hello, Failure>> {
        let id = self.agent.send(Op::Kexec)?;
        let answer = self.await_message(timeout, "kexec", |message| match message {
            FromGuest::Ready(hello) => Some((Ok(hello), None)),
            FromGuest::Reply {
                id: of, outcome, ..
            } if of == id => Some((
                Err(outcome.err().unwrap_or(Failure {
                    errno: 0,
                    message: "no kexec".into(),
                })),
                None,
            )),
            FromGuest::Leaving { .. } | FromGuest::Reply { .. } => None,
        })?;
        if let Ok(hello) = &answer.value {
            self.hello = hello.clone();
        }
        Ok(answer.value)
    }

    /// Whether the kernel has stopped, or QEMU has ended.
    ///
    /// # Errors
    /// When the host does not tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.qemu.try_wait()?.is_some() || self.console.any(watch::is_panic))
    }

    /// Gives QEMU so much of the host's processors' time, and then ends it. Unlike a time limit this does not depend on how
    /// busy the host is.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn limit_processor_time(&self, limit: Duration) -> Result<()> {
        let seconds = Some(limit.as_secs());
        let limit = Rlimit {
            current: seconds,
            // Half a minute later there is no way out of it.
            maximum: seconds.map(|seconds| seconds + 30),
        };
        let qemu = Pid::from_raw(self.qemu.id().cast_signed());
        rustix::process::prlimit(qemu, Resource::Cpu, limit).context("cannot limit QEMU")?;
        Ok(())
    }

    /// Whether QEMU has used up its [time](Self::limit_processor_time).
    ///
    /// # Errors
    /// When the host does not tell.
    pub fn ran_out_of_time(&mut self) -> Result<bool> {
        let status = self.qemu.try_wait()?;
        Ok(status.is_some_and(|status| status.signal() == Some(libc::SIGXCPU)))
    }

    /// Ends QEMU, and gives everything that the machine has printed.
    pub fn end(&mut self) -> Vec<Line> {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
        self.console.wait_for_the_end();
        self.console.lines()
    }

    /// What the running kernel's agent said of it.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// All that the machine has printed.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The host's port that leads to the guest's.
    ///
    /// # Errors
    /// When the machine was configured without it.
    pub fn port(&self, guest: u16) -> Result<u16> {
        let found = self.ports.iter().find(|(_, of)| *of == guest);
        found
            .map(|(host, _)| *host)
            .with_context(|| format!("port {guest} is not forwarded"))
    }

    fn await_ready(&mut self, timeout: Duration) -> Result<Timed<Hello>> {
        self.await_message(timeout, "the kernel to boot", |message| match message {
            FromGuest::Ready(hello) => Some((hello, None)),
            FromGuest::Leaving { .. } | FromGuest::Reply { .. } => None,
        })
    }

    fn await_message<T>(
        &mut self,
        timeout: Duration,
        what: &str,
        mut wanted: impl FnMut(FromGuest) -> Option<(T, Option<u64>)>,
    ) -> Result<Timed<T>> {
        let sent = Instant::now();
        let deadline = sent + timeout;
        loop {
            if let Some((at, message)) = self.agent.receive(POLL) {
                if let Some((value, guest_ns)) = wanted(message) {
                    return Ok(Timed {
                        value,
                        sent,
                        received: at,
                        guest_ns,
                    });
                }
                continue;
            }
            let ended = self.qemu.try_wait()?;
            if ended.is_some() || self.console.any(watch::is_panic) {
                // What it said last may still be on its way.
                std::thread::sleep(POLL);
                let panicked = self.console.any(watch::is_panic);
                let how = if panicked {
                    "the kernel panicked"
                } else {
                    "QEMU ended without a word"
                };
                bail!(self.console.report(&format!("{how} during {what}")));
            }
            if Instant::now() >= deadline {
                let what = format!("no answer within {} s: {what}", timeout.as_secs());
                return Err(NoAnswer(self.console.report(&what)).into());
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

/// Runs a machine whose console is the terminal, until it ends.
///
/// # Errors
/// When QEMU cannot be started.
pub fn interactive(config: &MachineConfig) -> Result<()> {
    let mut prepared = Prepared::new(config, &["luo.shell"])?;
    let command = &mut prepared.command;
    command.args(config::interactive_arguments(&prepared.disk));
    let status = command.status().with_context(config::qemu_missing)?;
    if status.success() {
        Ok(())
    } else {
        Err(anyhow!("QEMU ended: {status}"))
    }
}

/// What every machine needs before QEMU starts: its files, and the command without consoles and payload.
struct Prepared {
    files: TempDir,
    disk: PathBuf,
    ports: Vec<(u16, u16)>,
    command: Command,
}

impl Prepared {
    fn new(config: &MachineConfig, cmdline: &[&str]) -> Result<Self> {
        let files = temporary()?;
        let disk = files.path().join("payload");
        write_payload(&disk, config)?;
        let initrd = files.path().join("initrd");
        fs::write(&initrd, &config.initrd)
            .with_context(|| format!("cannot write {}", initrd.display()))?;
        let ports = config
            .forwards
            .iter()
            .map(|guest| Ok((free_port()?, *guest)))
            .collect::<Result<Vec<_>>>()?;
        let image = &config.kernel(&config.first)?.image;
        let more = [cmdline, &[config.first_cmdline.as_str()]].concat();
        let mut command = Command::new(config::QEMU);
        command
            .args(config.machine_arguments(accel::best(image)?))
            .args(config::network_arguments(&ports))
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(&initrd)
            .arg("-append")
            .arg(config.cmdline(&config.first, &more)?);
        Ok(Self {
            files,
            disk,
            ports,
            command,
        })
    }
}

/// A folder for what a machine needs while it runs.
fn temporary() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("luo-")
        .tempdir()
        .context("cannot make a temporary folder")
}

fn write_payload(path: &Path, config: &MachineConfig) -> Result<()> {
    let mut images = vec![(INITRD.to_owned(), config.initrd.clone())];
    for kernel in &config.kernels {
        let bytes = fs::read(&kernel.image)
            .with_context(|| format!("cannot read {}", kernel.image.display()))?;
        images.push((kernel.name.clone(), bytes));
    }
    let mut disk =
        File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    payload::write(&mut disk, &images).with_context(|| format!("cannot write {}", path.display()))
}

/// QEMU must not outlive the test that started it.
fn spawn_with_us(command: &mut Command) -> Result<Child> {
    // SAFETY: between fork and exec only prctl runs, which is safe there.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
    command.spawn().with_context(config::qemu_missing)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")
        .context("no free port")?
        .local_addr()?
        .port())
}

/// A name for a log file, from what it is about.
pub fn log_path(folder: &Path, about: &str) -> PathBuf {
    let name: String = about
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    folder.join(format!("{name}.log"))
}
