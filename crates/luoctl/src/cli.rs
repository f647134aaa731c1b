// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command line as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use luod::{
    kexec::STATE_DIR,
    protocol::{Id, SOCKET_PATH},
};

use crate::exit::EXIT_CODES;

mod update;

pub(crate) use update::{LoadArgs, Next, UpdateArgs};

/// Replaces the running kernel without losing what programs hold, together with the agent luod
///
/// An update goes like this: `luoctl load` loads the next kernel, `luoctl check` tells whether something would be lost, and `luoctl
/// update` asks every subscribed program to preserve its memory and descriptors, waits until all are ready, and replaces the
/// kernel. Afterwards they claim what is theirs. If one of them cannot, nothing is replaced, and all go on as before.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where the agent listens
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "PATH", default_value = SOCKET_PATH, env = "LUOCTL_SOCKET")]
    pub(crate) socket: PathBuf,
    /// Prints JSON: one object, or one a line where there is more to come; why it fails, on standard error, too
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows kernel, sessions, clients and kept files
    ///
    /// Without an agent it shows what can be seen without: the device, whether a next kernel is loaded, and what the previous kernel
    /// has left (for root). The exit status is 5 then.
    #[command(
        after_help = "Examples:\n  luoctl status\n  luoctl status --json | jq '.sessions[].id'"
    )]
    // As luo-agent calls it, and below.
    #[command(alias = "list")]
    Status(StatusArgs),
    /// Tells whether an update now would fail, or lose something
    ///
    /// A line for each thing that was looked at, and for each problem what to do about it. The exit status is 3 if there is one.
    /// With --kernel, the file is looked at too: whether it can be loaded, and, if its configuration is beside it or in /boot,
    /// whether it was built for live updates.
    #[command(
        after_help = "Examples:\n  luoctl check\n  luoctl check --kernel /boot/vmlinuz-7.2.12"
    )]
    Check(CheckArgs),
    /// Loads the next kernel
    ///
    /// By `kexec_file_load(2)`, since the kernel hands nothing over to what `kexec_load(2)` has loaded. Needs root, but no agent. What was
    /// loaded before is replaced, and stays if this fails.
    #[command(
        after_help = "Examples:\n  luoctl load /boot/vmlinuz-7.2.12 --initrd /boot/initrd.img-7.2.12 --reuse-cmdline\n  \
                      luoctl load bzImage --cmdline 'root=/dev/vda1 kho=on liveupdate=on'"
    )]
    Load(LoadArgs),
    /// Takes the loaded kernel away
    #[command(after_help = "Example:\n  luoctl unload")]
    Unload(StateArgs),
    /// Replaces the kernel once everybody is ready
    ///
    /// Loads a kernel if told to, checks, asks all subscribed clients to preserve what is theirs, and shows who is ready. When all are,
    /// the kernel is replaced. Ctrl-C until then calls the update off. With --json, every event is a line.
    #[command(
        after_help = "Examples:\n  luoctl update --dry-run\n  luoctl update --timeout 2m\n  \
                      luoctl update --load /boot/vmlinuz-7.2.12 --initrd /boot/initrd.img-7.2.12 --reuse-cmdline"
    )]
    #[command(alias = "kexec")]
    Update(UpdateArgs),
    /// Calls the update off that is under way
    #[command(after_help = "Example:\n  luoctl cancel")]
    Cancel,
    /// Claims what was carried over, for a program that cannot, or to rescue it
    ///
    /// The program gets the session as descriptor 3, in the way of socket activation (`sd_listen_fds(3))`: `LISTEN_FDS=1`,
    /// `LISTEN_FDNAMES=session`, `LISTEN_PID`. Or, with --save, every file in the session is copied to a folder, under its token; holes
    /// stay holes. Either way the session can be claimed again afterwards, unless --done is given.
    #[command(
        after_help = "Examples:\n  luoctl claim vm-1 -- /usr/lib/vmm/restore\n  luoctl claim cache --save /var/tmp/cache\n  \
                      luoctl claim cache --save /var/tmp/cache --token 0 --token 0x1a --done"
    )]
    Claim(ClaimArgs),
    /// Gives up what was carried over and nobody wants
    ///
    /// Its content is lost, and its memory is free again.
    #[command(after_help = "Examples:\n  luoctl discard vm-1\n  luoctl discard vm-1 --yes")]
    Discard(DiscardArgs),
    /// Keeps files in memory over updates, for programs that know nothing of them
    #[command(
        subcommand,
        after_help = "Examples:\n  luoctl keep add cache --size 1G --owner memcached\n  luoctl keep list"
    )]
    Keep(Keep),
    /// Shows what the last update took, by phases
    #[command(
        after_help = "Examples:\n  luoctl timeline\n  luoctl timeline --svg blackout.svg\n  \
                      luoctl timeline --json >update.json; luoctl timeline --from update.json --svg blackout.svg"
    )]
    Timeline(TimelineArgs),
    /// Prints what happens as it happens
    #[command(after_help = "Examples:\n  luoctl watch\n  luoctl watch --json")]
    Watch,
    /// Prints metrics for Prometheus
    ///
    /// To standard output, or for the textfile collector of `node_exporter` to a file, which is replaced at once. If no agent can be
    /// reached, `luo_agent_up` is 0, and the exit status is 5.
    #[command(
        after_help = "Examples:\n  luoctl metrics\n  luoctl metrics --textfile /var/lib/node_exporter/luo.prom"
    )]
    Metrics(MetricsArgs),
    /// Prints completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        dir: PathBuf,
    },
    /// Starts a program with descriptor 3 as its session: the part of `claim` that knows its own process
    #[command(hide = true)]
    Listen {
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Where the agent is told which kernel was loaded
    #[arg(long = "state", value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A kernel that is not loaded yet
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Shows only what is not as it should be
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClaimArgs {
    /// The id under which it was carried over
    pub(crate) id: Id,
    /// Copies the files in it to this folder, under their tokens
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "command",
        required_unless_present = "command"
    )]
    pub(crate) save: Option<PathBuf>,
    /// Which files, where the kernel does not show them (`0x1a` or `26`)
    #[arg(long = "token", value_name = "N", requires = "save", value_parser = token)]
    pub(crate) tokens: Vec<u64>,
    /// Afterwards, if all went well, finishes the session and says that it is done: it cannot be claimed again
    #[arg(long)]
    pub(crate) done: bool,
    /// The program, and its arguments
    #[arg(last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    /// Its id
    pub(crate) id: Id,
    /// Does not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keep {
    /// Makes a file that stays in memory over updates, and prints its path
    ///
    /// It takes memory only where it is written. Programs map it, or put small files beside it.
    #[command(
        after_help = "Example:\n  luoctl keep add cache --size 1G --owner memcached --checksum"
    )]
    Add {
        /// Its name, and that of its folder
        name: Id,
        /// How large it is: 512M, 1G, 1.5GiB; powers of 1024
        #[arg(long, value_name = "SIZE", value_parser = size)]
        size: u64,
        /// Whose it is, by name or number; yours if left out
        #[arg(long, value_name = "USER", value_parser = owner)]
        owner: Option<u32>,
        /// Compares its content with a checksum after each update, which costs time
        #[arg(long)]
        checksum: bool,
    },
    /// Shows kept files
    List,
    /// Gives a kept file up, with its content
    #[command(after_help = "Example:\n  luoctl keep remove cache")]
    Remove {
        /// Its name
        name: Id,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// Draws it into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Takes it from a file that `timeline --json` has written, not from the agent
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Writes them into a file, which is replaced at once
    #[arg(long, value_name = "PATH")]
    pub(crate) textfile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = parse_size::Config::new().with_binary().parse_size(text);
    match bytes {
        Ok(0) => Err("a kept file has one byte at least".into()),
        Ok(bytes) => Ok(bytes),
        Err(err) => Err(format!("{err}; write it like 512M or 1G")),
    }
}

fn token(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|err| format!("{err}; write it like 0x1a or 26"))
}

fn owner(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("there is no such user on this host".into()),
        Err(errno) => Err(format!("cannot look it up: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("1G"), Ok(1 << 30));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("0").is_err() && size("much").is_err() && size("-1G").is_err());
    }

    #[test]
    fn tokens_are_written_as_the_kernel_writes_them() {
        assert_eq!((token("0x1a"), token("26")), (Ok(26), Ok(26)));
        assert!(token("1a").is_err() && token("0x").is_err());
    }

    #[test]
    fn every_command_that_is_shown_has_an_example() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|it| !it.is_hide_set())
        {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("luoctl "), "{} has none", command.get_name());
        }
    }
}
