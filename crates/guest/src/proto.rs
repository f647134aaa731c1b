// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Newline-delimited JSON between host and agent: one [`Request`] at a time, one [`FromGuest::Reply`] each.
//!
//! The agent says [`FromGuest::Ready`] once after it has started; the host sends nothing before. Descriptors live in the
//! agent under names, *slots*. An errno is exactly what the kernel answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod bulk;
mod measured;
mod memfd;
pub mod survey;

pub use bulk::Bulk;
pub use measured::{MemoryUse, Timing};
pub use memfd::{MemfdSpec, MemfdUse, Pages};

/// The serial port the agent serves, in the guest.
pub const AGENT_TTY: &str = "/dev/ttyS1";
/// The agent's requests must not be longer: the guest's terminal layer drops what it cannot buffer.
pub const MAX_REQUEST_BYTES: usize = 32 << 10;

/// In [`Reply::MemInfo`]: kibibytes of free pages that processors keep for themselves, beside `MemFree`.
pub const FREE_PER_CPU: &str = "FreePerCpu";

/// The host's line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in the reply.
    pub id: u64,
    /// What to do.
    pub op: Op,
}

/// The agent's line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromGuest {
    /// The agent is up.
    Ready(Hello),
    /// The machine is about to leave its kernel.
    Leaving {
        /// When, by the processor's time-stamp counter, which goes on counting in the next kernel.
        tsc: u64,
    },
    /// The answer to a request.
    Reply {
        /// The request's.
        id: u64,
        /// What the operation took, by the guest's monotonic clock.
        ns: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of an operation.
pub type Outcome = Result<Reply, Failure>;

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kernel's errno; 0 when it was not a system call that failed.
    pub errno: i32,
    /// What was tried, on what.
    pub message: String,
}

/// Everything the agent can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Says which kernel runs. Gives [`Reply::Hello`].
    Hello,
    /// Runs a program to its end and gives [`Reply::Exec`]; kills it after the time.
    Exec {
        argv: Vec<String>,
        env: Vec<(String, String)>,
        timeout_ms: u64,
    },
    /// Starts a program, its output going to a file. Gives [`Reply::Pid`].
    Spawn { argv: Vec<String>, log: String },
    /// Sends a signal.
    Kill { pid: u32, signal: i32 },
    /// Waits for a child of the agent to end. Gives [`Reply::Exit`]; fails with `ETIMEDOUT` when it has not ended in time.
    Wait { pid: u32, timeout_ms: u64 },
    /// All of the kernel's log. Gives [`Reply::Log`].
    Dmesg,
    /// Gives [`Reply::Bytes`].
    ReadFile { path: String },
    /// Creates or truncates.
    WriteFile {
        path: String,
        #[serde(with = "hex::serde")]
        bytes: Vec<u8>,
    },
    /// Drops clean caches, then gives `/proc/meminfo` and [`FREE_PER_CPU`] as [`Reply::MemInfo`].
    MemInfo,
    /// Loads the next kernel from the payload disk.
    KexecLoad {
        kernel: String,
        initrd: String,
        cmdline: String,
        method: LoadMethod,
    },
    /// `reboot(LINUX_REBOOT_CMD_KEXEC)`. Replies only when the kernel refuses.
    Kexec,
    /// Says when it will leave, [`FromGuest::Leaving`], and then does as [`Op::Kexec`] does at that very moment.
    KexecAnnounced,
    /// Waits. Time for the kernel's own deferred work.
    Sleep { ms: u64 },

    /// Makes a memfd with the given content.
    MemfdCreate { slot: String, spec: MemfdSpec },
    /// Compares a memfd with what it should be. Gives [`Reply::Verified`]; a wrong content is a failure with `EILSEQ`.
    MemfdVerify { slot: String, spec: MemfdSpec },
    /// Adds seals.
    MemfdSeal { slot: String, seals: u32 },
    /// Changes or tries a memfd.
    UseMemfd { slot: String, how: MemfdUse },
    /// Makes a memfd out of a file's content.
    MemfdFromFile { slot: String, path: String },
    /// Writes a memfd's content to a file.
    MemfdToFile { slot: String, path: String },
    /// Opens a file for reading and writing.
    OpenFile { slot: String, path: String },
    /// Writes to a slot, once.
    WriteSlot {
        slot: String,
        #[serde(with = "hex::serde")]
        bytes: Vec<u8>,
    },
    /// Reads from a slot, once and at most so much. Gives [`Reply::Bytes`].
    ReadSlot { slot: String, len: usize },
    /// Makes `path` a symbolic link to the slot's entry in `/proc`.
    LinkSlot { slot: String, path: String },
    /// Closes a slot.
    Close { slot: String },
    /// What `/proc/self/fdinfo` says of the slot. Gives [`Reply::Text`].
    FdInfo { slot: String },
    /// What `/proc/self/fd` says the slot is. Gives [`Reply::Text`].
    FdLink { slot: String },

    /// Opens `/dev/liveupdate`.
    OpenDevice { slot: String },
    /// Opens it as soon as nobody else has it open.
    AwaitDevice { slot: String },
    /// `CREATE_SESSION`.
    CreateSession {
        device: String,
        name: String,
        slot: String,
    },
    /// `RETRIEVE_SESSION`.
    RetrieveSession {
        device: String,
        name: String,
        slot: String,
    },
    /// `PRESERVE_FD`.
    Preserve {
        session: String,
        token: u64,
        file: String,
    },
    /// `RETRIEVE_FD`.
    Retrieve {
        session: String,
        token: u64,
        file: String,
    },
    /// `FINISH`.
    Finish { session: String },
    /// `GET_NAME`. Gives [`Reply::Text`].
    GetName { session: String },
    /// Any ioctl. Gives [`Reply::Ioctl`] when it succeeds.
    Ioctl {
        slot: String,
        number: u32,
        buffer: Buffer,
        entry: Entry,
    },

    /// Runs operations in a forked process. Gives [`Reply::Child`].
    InChild {
        ops: Vec<Op>,
        then: Ending,
        timeout_ms: u64,
    },

    /// Has a forked process begin something, and kills it when it has run for so long. Waits until it is gone.
    KilledDuring { op: Box<Op>, after_us: u64 },
    /// The same for something that cannot be done twice: it has to be undone as often as the process was killed too late, and the
    /// agent then does it itself. Fails with `EEXIST` if the process was never killed before its end.
    RepeatedAfterKill {
        op: Box<Op>,
        undo: Vec<Op>,
        after_us: u64,
    },
    /// Does something while the machine's free memory is watched. Gives [`Reply::MemoryUse`].
    Watched(Box<Op>),

    /// Does an operation in a process of its own, which keeps its descriptors until it is [killed](Op::Crash). Gives what that
    /// gives.
    In { process: u8, op: Box<Op> },
    /// Kills such a process, if it is there.
    Crash { process: u8 },
    /// Limits the descriptors that a process may have; those that it has stay.
    LimitDescriptors { most: u64 },

    /// Many operations of one kind, timed. Gives [`Reply::Timing`].
    Bulk(Bulk),
    /// Makes and preserves all that a file in the machine lists: [`survey::Sought`] as JSON.
    PreserveAll { list: String },
    /// Fetches and finishes all that the file lists. Gives [`Reply::Survey`].
    Survey { list: String },
}

/// How the next kernel is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadMethod {
    /// `kexec_file_load`, which carries what KHO preserved.
    File,
    /// `kexec_load`, which does not.
    Legacy,
}

/// Which system-call entry an ioctl goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// The 64-bit one.
    Native,
    /// The one of 32-bit programs (`int 0x80`).
    Compat,
}

/// What happens to a forked process after its last operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exits.
    Exit,
    /// It is killed.
    Kill9,
    /// It stays, holding its descriptors.
    Stay,
}

/// The argument of a raw ioctl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Where it lies.
    pub place: Place,
    /// What it holds.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
}

/// Where an ioctl's argument lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In ordinary memory.
    Normal,
    /// The pointer is null.
    Null,
    /// In an address range without a mapping.
    Unmapped,
    /// In memory that can be read only: the kernel's answer gets `EFAULT`.
    ReadOnly,
    /// Its first bytes at the end of a page that no other follows.
    LastBytesOfPage(usize),
    /// In memory that can be read, but whose first write blocks for ever (userfaultfd write protection).
    WriteBlocks,
}

/// What an operation gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to say.
    Done,
    Hello(Hello),
    Exec {
        end: Exit,
        stdout: String,
        stderr: String,
    },
    Pid(u32),
    Exit(Exit),
    Log(Vec<LogLine>),
    Bytes(#[serde(with = "hex::serde")] Vec<u8>),
    Text(String),
    /// How far somebody has counted.
    Counted(u64),
    /// Kibibytes (or page counts) by `/proc/meminfo`'s names.
    MemInfo(BTreeMap<String, u64>),
    Verified {
        bytes: u64,
        allocated_bytes: u64,
    },
    Ioctl {
        value: i32,
        #[serde(with = "hex::serde")]
        bytes: Vec<u8>,
    },
    /// `end` is `None` when the child still runs; then operations may be missing from `outcomes`.
    Child {
        pid: u32,
        outcomes: Vec<Outcome>,
        end: Option<Exit>,
    },
    Timing(Timing),
    MemoryUse(MemoryUse),
    Survey(survey::Survey),
}

/// Which kernel runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Differs from boot to boot.
    pub boot_id: String,
    /// As `uname -r` gives it.
    pub release: String,
    /// As `uname -v` gives it.
    pub version: String,
    /// The kernel's command line.
    pub cmdline: String,
    /// Time since boot when the agent started.
    pub uptime_ms: u64,
    /// The processor's time-stamp counter then. It goes on counting over a kexec.
    pub tsc: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It did not end in time and was killed.
    TimedOut,
}

/// One record of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// 0 emergency to 7 debug.
    pub level: u8,
    /// Microseconds since boot.
    pub us: u64,
    pub text: String,
}

#[cfg(test)]
mod tests;
