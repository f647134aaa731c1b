// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A machine on which something is measured.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use luo_guest::proto::{Bulk, LoadMethod, Op, Outcome, Reply, Timing};

use crate::{
    machine::{Clock, INITRD, Kernel, Machine, MachineConfig},
    scenario::{Flavor, Lab},
};

/// A quadratic cost is a matter of minutes, on a busy host of hours.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
/// Counting instructions is slow, and the host may be busy.
const PATIENCE: u32 = 60;

/// The kernel takes a second to find out how fast its clock is.
const SETTLE_MS: u64 = 3000;

/// The slot of the device.
pub(super) const DEVICE: &str = "device";

pub(super) struct Stand {
    pub(super) machine: Machine,
    config: MachineConfig,
    flavor: Flavor,
}

impl Stand {
    pub(super) fn start(lab: &Lab, flavor: Flavor, about: &str, memory_mib: u32) -> Result<Self> {
        Self::start_with(lab, flavor, about, memory_mib, &[])
    }

    /// In a machine that can be stopped at instructions, with kernels whose addresses are those of their symbols.
    pub(super) fn start_debugged(
        lab: &Lab,
        flavor: Flavor,
        about: &str,
        memory_mib: u32,
    ) -> Result<Self> {
        let mut config = Self::config(lab, flavor, about, memory_mib)?;
        config.debugged = true;
        config.extra_cmdline.push_str(" nokaslr");
        Self::boot(config, flavor)
    }

    /// With more images that it can go into.
    pub(super) fn start_with(
        lab: &Lab,
        flavor: Flavor,
        about: &str,
        memory_mib: u32,
        images: &[(&str, Vec<u8>)],
    ) -> Result<Self> {
        let mut config = Self::config(lab, flavor, about, memory_mib)?;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        for (name, bytes) in images {
            let image = folder.path().join(name);
            fs::write(&image, bytes)
                .with_context(|| format!("cannot write {}", image.display()))?;
            let name = (*name).to_owned();
            config.kernels.push(Kernel { name, image });
        }
        Self::boot(config, flavor)
    }

    fn config(lab: &Lab, flavor: Flavor, about: &str, memory_mib: u32) -> Result<MachineConfig> {
        let about = format!("bench {} {about}", flavor.name());
        let mut config = lab.machine(&about, &[flavor], flavor)?;
        config.clock = Clock::Instructions;
        config.memory_mib = memory_mib;
        config.patience = PATIENCE;
        Ok(config)
    }

    fn boot(config: MachineConfig, flavor: Flavor) -> Result<Self> {
        let machine = Machine::boot(&config)?;
        let mut stand = Self {
            machine,
            config,
            flavor,
        };
        stand.settle()?;
        Ok(stand)
    }

    /// Waits until the kernel is done with what it puts off while it boots, such as the choice of its clock: before that its
    /// timers are coarse. In a machine that counts instructions idle time takes no time. From then on it prints warnings only: a
    /// test in the kernel says when it is called, which takes a serial line more than the call, and whoever comes next.
    fn settle(&mut self) -> Result<()> {
        self.call(Op::Sleep { ms: SETTLE_MS })?;
        self.call(Op::WriteFile {
            path: "/proc/sys/kernel/printk".into(),
            bytes: "5".into(),
        })?;
        Ok(())
    }

    /// Does something; gives the instructions it took in the agent, too.
    pub(super) fn call(&mut self, op: Op) -> Result<(Reply, u64)> {
        let answer = self.machine.call(op, STEP_TIMEOUT)?;
        let instructions = answer.guest_ns.context("the agent gives no time")?;
        Ok((succeeded(answer.value)?, instructions))
    }

    /// Many calls of one kind.
    pub(super) fn bulk(&mut self, bulk: Bulk) -> Result<Timing> {
        match self.call(Op::Bulk(bulk))? {
            (Reply::Timing(timing), _) => Ok(timing),
            (other, _) => bail!("no timing: {other:?}"),
        }
    }

    pub(super) fn open_device(&mut self) -> Result<u64> {
        let slot = DEVICE.into();
        Ok(self.call(Op::OpenDevice { slot })?.1)
    }

    pub(super) fn create_session(&mut self, name: &str) -> Result<u64> {
        let (device, name) = (DEVICE.to_owned(), name.to_owned());
        let slot = name.clone();
        Ok(self.call(Op::CreateSession { device, name, slot })?.1)
    }

    pub(super) fn retrieve_session(&mut self, name: &str) -> Result<u64> {
        let (device, name) = (DEVICE.to_owned(), name.to_owned());
        let slot = name.clone();
        Ok(self.call(Op::RetrieveSession { device, name, slot })?.1)
    }

    /// The command line that the next kernel gets.
    pub(super) fn cmdline(&self) -> Result<String> {
        self.config.cmdline(self.flavor.name(), &[])
    }

    /// Loads a kernel of the same kind.
    pub(super) fn load_next(&mut self) -> Result<()> {
        let name = self.flavor.name();
        let load = Op::KexecLoad {
            kernel: name.into(),
            initrd: INITRD.into(),
            cmdline: self.cmdline()?,
            method: LoadMethod::File,
        };
        self.call(load)?;
        Ok(())
    }

    /// Goes into a kernel of the same kind.
    pub(super) fn kexec(&mut self) -> Result<()> {
        self.load_next()?;
        let refused = self.machine.kexec(STEP_TIMEOUT)?.err();
        if let Some(failure) = refused {
            bail!("the kernel refuses the kexec: {}", failure.message)
        }
        self.settle()
    }
}

fn succeeded(outcome: Outcome) -> Result<Reply> {
    outcome.map_err(|failure| anyhow!("errno {}: {}", failure.errno, failure.message))
}
