// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Operations and their outcomes.

use crate::{Errno, File, Flb, Handler, Name, Process, Token};

/// Which way a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub enum Direction {
    /// To the next kernel.
    Outgoing,
    /// From the previous one.
    Incoming,
}

/// A session of this kernel. There is at most one descriptor of it, so that this stands for that, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub struct Session {
    /// Which way it goes.
    pub direction: Direction,
    /// Its name.
    pub name: Name,
}

/// What is in the way of an ioctl that gives a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub enum Obstacle {
    /// Nothing.
    #[cfg_attr(feature = "proptest", proptest(weight = 8))]
    None,
    /// The kernel can read the structure and not write it.
    Unwritable,
    /// The process has as many descriptors as it may.
    NoDescriptor,
}

/// A callback that can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub enum Callback {
    /// A handler's `preserve`.
    Preserve(Handler),
    /// A handler's `freeze`.
    Freeze(Handler),
    /// A handler's `carry`.
    Carry(Handler),
    /// A handler's `retrieve`.
    Retrieve(Handler),
    /// A handler's `can_finish`.
    CanFinish(Handler),
    /// The `preserve` of an FLB.
    FlbPreserve(Flb),
    /// The `retrieve` of an FLB.
    FlbRetrieve(Flb),
}

/// How the next kernel was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub enum Image {
    /// By `kexec_file_load(2)`.
    #[cfg_attr(feature = "proptest", proptest(weight = 6))]
    WithHandover,
    /// By `kexec_load(2)`: it knows nothing of what is preserved.
    WithoutHandover,
}

/// Which handlers a kernel has from its boot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
pub enum Modules {
    /// Both.
    #[cfg_attr(feature = "proptest", proptest(weight = 4))]
    All,
    /// This one.
    Only(Handler),
    /// None.
    None,
}

impl Modules {
    /// Whether `handler` is one of them.
    #[must_use]
    pub fn contain(self, handler: Handler) -> bool {
        match self {
            Self::All => true,
            Self::Only(it) => it == handler,
            Self::None => false,
        }
    }
}

/// Something that is done on a machine.
///
/// A process that has not opened the device does so for the time of one call where it needs it. Calls on sessions are made by
/// the process that has the session's descriptor, with its own files; if nobody has it they are made on no descriptor at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "proptest", derive(proptest_derive::Arbitrary))]
#[expect(missing_docs, reason = "the fields say what they are by their types")]
pub enum Op {
    /// Opens the device.
    #[cfg_attr(feature = "proptest", proptest(weight = 3))]
    OpenDevice { process: Process },
    /// Closes it.
    #[cfg_attr(feature = "proptest", proptest(weight = 8))]
    CloseDevice { process: Process },
    /// Makes a file, with contents like no other, and keeps its descriptor in place of an earlier one.
    #[cfg_attr(feature = "proptest", proptest(weight = 16))]
    MakeFile {
        process: Process,
        file: File,
        handler: Handler,
    },
    /// Closes a file.
    #[cfg_attr(feature = "proptest", proptest(weight = 2))]
    CloseFile { process: Process, file: File },
    /// `CREATE_SESSION`.
    #[cfg_attr(feature = "proptest", proptest(weight = 16))]
    Create {
        process: Process,
        name: Name,
        obstacle: Obstacle,
    },
    /// `PRESERVE_FD`.
    #[cfg_attr(feature = "proptest", proptest(weight = 40))]
    Preserve {
        name: Name,
        file: File,
        token: Token,
    },
    /// `RETRIEVE_SESSION`.
    #[cfg_attr(feature = "proptest", proptest(weight = 30))]
    Retrieve {
        process: Process,
        name: Name,
        obstacle: Obstacle,
    },
    /// `RETRIEVE_FD`; the descriptor takes the place of an earlier one.
    #[cfg_attr(feature = "proptest", proptest(weight = 40))]
    RetrieveFile {
        name: Name,
        token: Token,
        into: File,
        obstacle: Obstacle,
    },
    /// `FINISH`.
    #[cfg_attr(feature = "proptest", proptest(weight = 5))]
    Finish { name: Name },
    /// `GET_NAME`.
    GetName { session: Session },
    /// The calls that only sessions of the other direction answer.
    Misdirect { session: Session },
    /// Closes a session.
    #[cfg_attr(feature = "proptest", proptest(weight = 8))]
    Close { session: Session },
    /// A process dies.
    #[cfg_attr(feature = "proptest", proptest(weight = 2))]
    Crash { process: Process },
    /// A module registers a handler, and the FLBs that its files depend on.
    #[cfg_attr(feature = "proptest", proptest(weight = 4))]
    Load { handler: Handler },
    /// The module is unloaded, unless it is in use.
    #[cfg_attr(feature = "proptest", proptest(weight = 3))]
    Unload { handler: Handler },
    /// From now on a callback refuses.
    #[cfg_attr(feature = "proptest", proptest(weight = 4))]
    Refuse { callback: Callback },
    /// No callback refuses any more.
    #[cfg_attr(feature = "proptest", proptest(weight = 8))]
    Relent,
    /// Somebody in the kernel borrows the object of an FLB.
    #[cfg_attr(feature = "proptest", proptest(weight = 4))]
    Borrow { direction: Direction, flb: Flb },
    /// And gives it back, or one that was never borrowed.
    #[cfg_attr(feature = "proptest", proptest(weight = 4))]
    GiveBack { direction: Direction, flb: Flb },
    /// The first half of `reboot(LINUX_REBOOT_CMD_KEXEC)`: what can fail.
    #[cfg_attr(feature = "proptest", proptest(weight = 2))]
    HandOver { image: Image },
    /// The second half: the next kernel runs, if the first half succeeded.
    #[cfg_attr(feature = "proptest", proptest(weight = 6))]
    Jump { modules: Modules },
    /// Both halves.
    #[cfg_attr(feature = "proptest", proptest(weight = 16))]
    Kexec { image: Image, modules: Modules },
    /// `CREATE_SESSION` so often that a block is full.
    CreateMany { process: Process },
    /// `PRESERVE_FD` so often that a block is full.
    PreserveMany { process: Process, name: Name },
    /// Retrieves and finishes the sessions of other operations than `CreateMany`.
    #[cfg_attr(feature = "proptest", proptest(weight = 2))]
    FinishAll { process: Process },
    /// Retrieves and finishes those of `CreateMany`.
    #[cfg_attr(feature = "proptest", proptest(weight = 3))]
    FinishMany { process: Process },
}

impl Op {
    /// The operations that this one consists of: mostly itself.
    #[must_use]
    pub fn steps(self) -> Vec<Self> {
        let obstacle = Obstacle::None;
        match self {
            Self::Kexec { image, modules } => {
                vec![Self::HandOver { image }, Self::Jump { modules }]
            }
            Self::CreateMany { process } => Name::many()
                .map(|name| Self::Create {
                    process,
                    name,
                    obstacle,
                })
                .collect(),
            Self::PreserveMany { process, name } => Token::many()
                .flat_map(|token| {
                    let (file, handler) = (File::SPARE, Handler(0));
                    let make = Self::MakeFile {
                        process,
                        file,
                        handler,
                    };
                    [make, Self::Preserve { name, file, token }]
                })
                .collect(),
            Self::FinishAll { process } => finish(process, Name::few()),
            Self::FinishMany { process } => finish(process, Name::many()),
            single => vec![single],
        }
    }
}

impl Op {
    /// The same, by a caller whose memory the kernel cannot write. Not all operations write.
    #[must_use]
    pub fn unwritable(mut self) -> Self {
        if let Self::Create { obstacle, .. }
        | Self::Retrieve { obstacle, .. }
        | Self::RetrieveFile { obstacle, .. } = &mut self
        {
            *obstacle = Obstacle::Unwritable;
        }
        self
    }
}

fn finish(process: Process, names: impl Iterator<Item = Name>) -> Vec<Op> {
    let obstacle = Obstacle::None;
    let both = |name| {
        let retrieve = Op::Retrieve {
            process,
            name,
            obstacle,
        };
        [retrieve, Op::Finish { name }]
    };
    names.flat_map(both).collect()
}

/// What an operation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing but that it is done.
    Done,
    /// The name of a session.
    Name(Name),
    /// A file that holds what the file with this number held: files are numbered in the order in which they are made.
    Contents(u32),
}

/// How an operation ends.
pub type Outcome = Result<Answer, Errno>;
