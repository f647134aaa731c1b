// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Loading a kernel, and going there.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::StateArgs;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The kernel: a bzImage, such as /boot/vmlinuz-RELEASE
    pub(crate) kernel: PathBuf,
    #[command(flatten)]
    pub(crate) next: Next,
    /// Loads it although it would not find what this kernel hands over
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// What goes with a kernel.
#[derive(Debug, Default, Args)]
pub(crate) struct Next {
    /// Its initial ramdisk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// Its command line; kho=on and liveupdate=on have to be in it
    #[arg(long, value_name = "TEXT", conflicts_with = "reuse_cmdline")]
    pub(crate) cmdline: Option<String>,
    /// The running kernel's command line, without what the boot loader has added
    #[arg(long)]
    pub(crate) reuse_cmdline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// How long the clients have: 30, 30s, 2m, 500ms; the agent's own default otherwise
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// Stops before the kernel is replaced, and calls the update off: everybody goes on
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Goes on although something would be lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Loads this kernel first
    #[arg(long, value_name = "KERNEL")]
    pub(crate) load: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) next: Next,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs);
    let time = seconds.or_else(|_| {
        let time: jiff::SignedDuration = text.parse().map_err(|_| wrong_time())?;
        Duration::try_from(time).map_err(|_| wrong_time())
    })?;
    match time.as_millis() {
        0 => Err("nobody is ready in no time".into()),
        _ => Ok(time),
    }
}

fn wrong_time() -> String {
    "write it like 30s, 2m or 500ms".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "s", "0", "-1s", "1 year", "..s", "0ms"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
