// SPDX-License-Identifier: GPL-2.0-only

//! Raw ioctls: any command, any size, any bytes, any descriptor, in memory that cannot be read or written, and while
//! other things happen that a page fault has time for.
//!
//! What is wrong about a call by itself is refused with the errno that [`rules`] foretell. A call that fails has changed
//! nothing, one that succeeds has written its answer and nothing else, and when everything is closed no page is left.

mod memory;
mod rules;
mod world;

use arbitrary::{Arbitrary, Unstructured};
use kernel::host::user::Access;
use memory::Memory;
use world::World;

/// A program.
#[derive(Arbitrary, Debug)]
struct Plan {
    steps: Vec<Step>,
}

/// What the program does next.
#[derive(Arbitrary, Debug)]
enum Step {
    Open,
    /// A file that the handler of this number takes care of.
    File(u8),
    Call(Call, Option<Meanwhile>),
    Close(Fd),
    /// Reads `fdinfo`.
    Show(Fd),
    Exit,
    Reboot,
    /// Reboots and jumps, if it is not refused.
    Kexec,
    /// Lets an allocation fail.
    FailAllocation(u8),
    LimitDescriptors(u8),
}

/// An ioctl.
#[derive(Arbitrary, Debug, Clone)]
struct Call {
    fd: Fd,
    cmd: Cmd,
    memory: Memory,
}

/// Something that others do while the call waits for its memory.
#[derive(Arbitrary, Debug, Clone)]
struct Meanwhile {
    reads: bool,
    what: Other,
}

#[derive(Arbitrary, Debug, Clone)]
enum Other {
    Open,
    Close(Fd),
    CloseAll,
    Reboot,
    Call(Call),
}

impl Meanwhile {
    fn access(&self) -> Access {
        if self.reads {
            Access::Read
        } else {
            Access::Write
        }
    }
}

/// A descriptor. Numbers are indices, modulo how many there are.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Fd {
    Device(u8),
    Outgoing(u8),
    Incoming(u8),
    File(u8),
    Any(i32),
}

/// A command.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Cmd {
    /// One that there is.
    Known(u8),
    /// One that there is, with one bit wrong.
    Flipped(u8, u8),
    Any(u32),
}

impl Cmd {
    fn number(self) -> u32 {
        let known = |index: u8| rules::COMMANDS[usize::from(index) % rules::COMMANDS.len()].cmd;
        match self {
            Self::Known(index) => known(index),
            Self::Flipped(index, bit) => known(index) ^ 1 << (bit % 32),
            Self::Any(number) => number,
        }
    }
}

/// Runs the target on these bytes.
///
/// # Panics
///
/// If anything is wrong.
pub fn run(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    World::power_on();
    for step in plan.steps.iter().take(100) {
        world::step(step);
    }
    world::end();
}
