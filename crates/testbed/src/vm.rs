// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A machine for a person: a shell on its console, the next kernels on its payload disk.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    image::Image,
    machine::{Kernel, MachineConfig, interactive},
};

/// What the machine has.
#[derive(Debug, Clone)]
pub struct VmOptions {
    /// Kernels by name; the first boots, `kexec-now NAME` goes into any.
    pub kernels: Vec<Kernel>,
    /// Programs of the host to take along, with their libraries.
    pub programs: Vec<PathBuf>,
}

/// Gives the terminal to the machine until it ends.
///
/// # Errors
/// When it cannot be built or started.
pub fn run(options: &VmOptions) -> Result<()> {
    let mut image = Image::base()?;
    for program in &options.programs {
        image.program(program)?;
    }
    let Some(first) = options.kernels.first() else {
        anyhow::bail!("a machine needs a kernel")
    };
    let names: Vec<_> = options
        .kernels
        .iter()
        .map(|kernel| kernel.name.as_str())
        .collect();
    image.file("/etc/motd", motd(&names).into_bytes(), 0o644);
    // The log of an interactive machine is the terminal.
    let log = PathBuf::from("/dev/null");
    let mut config =
        MachineConfig::new(options.kernels.clone(), &first.name, image.archive()?, log);
    config.extra_cmdline = "quiet".into();
    interactive(&config)
}

fn motd(kernels: &[&str]) -> String {
    format!(
        "\nA test machine with live update: /dev/liveupdate.\n\
         kexec-now [KERNEL]  replace the running kernel; there are: {}\n\
         exit                end the machine (or Ctrl-A X)\n\n",
        kernels.join(", ")
    )
}
