// SPDX-License-Identifier: GPL-2.0-only

//! Hostile hand-overs: a valid one is made by calls, corrupted, and used in the next kernel.
//!
//! Three things are checked there. LUO does what [`reference`] says for these very bytes: each errno, each call of a
//! handler, each page that is freed or not. Whatever [`Layout::unharmed`] finds untouched is got back whole. And what
//! belongs to others stays as it is.

mod corrupt;
mod layout;
mod reference;
mod visitor;

use arbitrary::{Arbitrary, Unstructured};
use corrupt::Corruption;
use kernel::host;
use layout::Layout;
use reference::Reference;
use visitor::Visitor;

/// What the old kernel preserves, what happens to it, and what the new kernel is asked.
#[derive(Arbitrary, Debug)]
struct Plan {
    /// Whether there are more sessions than one block can carry.
    two_blocks: bool,
    sessions: Vec<SessionPlan>,
    corruptions: Vec<Corruption>,
    visits: Vec<Visit>,
}

/// A session to be preserved.
#[derive(Arbitrary, Debug)]
struct SessionPlan {
    size: Size,
    /// Which handler is for which file, a bit each.
    kinds: u8,
}

/// How many files there are.
#[derive(Arbitrary, Debug)]
enum Size {
    Few(u8),
    /// More than one block can carry.
    TwoBlocks,
}

/// What a program does in the new kernel. Numbers are indices, modulo how many there are.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Visit {
    Retrieve(u8),
    File(u8, u8),
    Finish(u8),
    Close(u8),
    Borrow(u8),
    GiveBack(u8),
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
    let layout = Layout::preserve(&plan.sessions, plan.two_blocks);
    for corruption in plan.corruptions.iter().take(64) {
        corruption.apply(&layout);
    }
    let pages = layout.pages();
    let unharmed = layout.unharmed(&pages);
    let reference = Reference::new(layout.root, pages);
    host::kexec();
    Visitor::new(&layout, &unharmed, reference).run(&plan.visits);
    // Whoever is left dies with the machine, which is not the same: nobody closes anything then.
    host::exit();
}
