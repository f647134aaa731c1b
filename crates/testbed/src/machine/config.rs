// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a machine is made of, and QEMU's words for it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::accel::Accelerator;

pub(super) const QEMU: &str = "qemu-system-x86_64";
/// The initial ramdisk's name on the payload disk.
pub const INITRD: &str = "initrd";

/// Console for the log, both parts of live update on, a panic ends the machine. The watchdog of clock sources waits with interrupts
/// off for another processor, by a clock that stands still until the boot has chosen one; if that other processor waits in
/// `stop_machine()` for the choice, both wait for ever. In an emulator that is busy, that is one boot in a hundred. There the check
/// that the timer interrupts fails now and then, too, and the kernel panics; under KVM kernels leave that check out by themselves.
const CMDLINE: &str = "console=ttyS0 panic=-1 kho=on liveupdate=on tsc=nowatchdog no_timer_check";

/// Upstream's test of KHO, which is compiled in, would preserve memory at every boot.
const NO_KHO_TEST: &str = "initcall_blacklist=kho_test_init";

/// Each byte or word of a string instruction counts as one instruction. Without the features that make the kernel move single
/// bytes, clearing a page costs 512 or so instead of 4096, which is nearer to what it costs a real processor.
const COUNTING: &str = "-accel tcg -cpu max,la57=off,erms=off,fsrm=off -icount shift=0,sleep=off";

/// How long an ordinary kernel may take to reach the agent.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// A kernel to boot or to kexec into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What actions call it.
    pub name: String,
    /// The bzImage.
    pub image: PathBuf,
}

/// How a machine's time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// As the host's.
    Real,
    /// One nanosecond for each instruction, on one processor: measurements do not depend on the host.
    Instructions,
}

/// A machine to boot.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// All kernels that will run in it.
    pub kernels: Vec<Kernel>,
    /// The name of the one that boots first.
    pub first: String,
    /// Every kernel's initial ramdisk, as an archive.
    pub initrd: Vec<u8>,
    /// Appended to every kernel's command line.
    pub extra_cmdline: String,
    /// Appended to the command line of the first kernel alone.
    pub first_cmdline: String,
    /// Upstream's test of KHO runs at every boot: one preserves memory, the next looks for it.
    pub kho_test: bool,
    /// Memory.
    pub memory_mib: u32,
    /// So much of the memory is of a first node, with the first processor, and the rest of a second one.
    pub first_node_kib: Option<u64>,
    /// Processors; one, when instructions are counted.
    pub processors: u32,
    /// How time passes.
    pub clock: Clock,
    /// Whether it can be stopped at instructions.
    pub debugged: bool,
    /// The guest's TCP ports that the host wants to reach.
    pub forwards: Vec<u16>,
    /// Where the console is kept.
    pub log: PathBuf,
    /// Freed memory that the kernel's own checks may hold back.
    pub held_back_kib: u64,
    /// Time limits are so many times longer than for an ordinary kernel.
    pub patience: u32,
}

impl MachineConfig {
    /// A machine with the usual memory.
    pub fn new(kernels: Vec<Kernel>, first: &str, initrd: Vec<u8>, log: PathBuf) -> Self {
        Self {
            kernels,
            first: first.to_owned(),
            initrd,
            extra_cmdline: String::new(),
            first_cmdline: String::new(),
            kho_test: false,
            memory_mib: 2048,
            first_node_kib: None,
            processors: 2,
            clock: Clock::Real,
            debugged: false,
            forwards: Vec::new(),
            log,
            held_back_kib: 0,
            patience: 1,
        }
    }

    /// The command line of a kernel of this machine.
    ///
    /// # Errors
    /// When there is no such kernel.
    pub fn cmdline(&self, kernel: &str, more: &[&str]) -> Result<String> {
        self.kernel(kernel)?;
        let mut words = vec![CMDLINE];
        words.extend(Some(NO_KHO_TEST).filter(|_| !self.kho_test));
        words.extend(Some(self.extra_cmdline.as_str()).filter(|extra| !extra.is_empty()));
        words.extend(more);
        Ok(words.join(" "))
    }

    pub(super) fn boot_timeout(&self) -> Duration {
        BOOT_TIMEOUT * self.patience
    }

    pub(super) fn kernel(&self, name: &str) -> Result<&Kernel> {
        self.kernels
            .iter()
            .find(|kernel| kernel.name == name)
            .with_context(|| format!("no kernel \"{name}\" given"))
    }

    pub(super) fn machine_arguments(&self, accelerator: Accelerator) -> Vec<String> {
        // The older machine's interrupt routing is a loop in AML: a third of a second, and with KASAN so long that ACPI gives up.
        let mut arguments =
            words("-machine q35 -nodefaults -no-user-config -no-reboot -display none");
        arguments.extend(["-m".into(), format!("{}M", self.memory_mib)]);
        let (accelerator, processors) = match self.clock {
            Clock::Real => (accelerator.arguments(), self.processors),
            Clock::Instructions => (COUNTING, 1),
        };
        arguments.extend(words(accelerator));
        arguments.extend(["-smp".into(), processors.to_string()]);
        if let Some(first_kib) = self.first_node_kib {
            // The kernel warns of processors that share a socket and no node.
            arguments.extend(["-smp".into(), format!("sockets={processors}")]);
            let second_kib = u64::from(self.memory_mib) * 1024 - first_kib;
            arguments.extend(node_arguments(0, first_kib, "0"));
            arguments.extend(node_arguments(
                1,
                second_kib,
                &format!("1-{}", processors - 1),
            ));
        }
        arguments
    }
}

fn node_arguments(number: u32, memory_kib: u64, processors: &str) -> [String; 4] {
    [
        "-object".into(),
        format!("memory-backend-ram,id=node{number},size={memory_kib}K"),
        "-numa".into(),
        format!("node,nodeid={number},memdev=node{number},cpus={processors}"),
    ]
}

pub(super) fn network_arguments(ports: &[(u16, u16)]) -> Vec<String> {
    let mut network = "user,id=net".to_owned();
    for (host, guest) in ports {
        network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
    }
    vec![
        "-netdev".into(),
        network,
        "-device".into(),
        "virtio-net-pci,netdev=net,romfile=".into(),
    ]
}

pub(super) fn device_arguments(agent: &Path, payload: &Path) -> Vec<String> {
    let mut arguments = words("-chardev stdio,id=console,signal=off -serial chardev:console");
    arguments.extend([
        "-chardev".into(),
        format!("socket,id=agent,path={}", agent.display()),
    ]);
    arguments.extend(words("-serial chardev:agent"));
    arguments.extend(payload_arguments(payload));
    arguments
}

pub(super) fn interactive_arguments(payload: &Path) -> Vec<String> {
    let mut arguments = words("-serial mon:stdio -serial null");
    arguments.extend(payload_arguments(payload));
    arguments
}

fn payload_arguments(payload: &Path) -> Vec<String> {
    let drive = format!(
        "if=none,id=payload,format=raw,readonly=on,file={}",
        payload.display()
    );
    vec![
        "-drive".into(),
        drive,
        "-device".into(),
        "virtio-blk-pci,drive=payload".into(),
    ]
}

pub(super) fn qemu_missing() -> String {
    format!("cannot run {QEMU}; install the package qemu-system-x86")
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
