// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Scenarios: lists of actions on one machine, with the kernel's log watched all the way.
//!
//! A defect of the C implementation is one scenario for both kernels: the action that tells them apart is wrapped in
//! [`Action::Judge`]. On ours it has to succeed; on C it has to fail with the symptom, and the scenario ends there.

mod debug;
mod expect;
mod log;
mod play;
mod run;
pub mod steps;

use luo_guest::proto::{LoadMethod, Op};

use crate::machine::MachineConfig;

pub use expect::Expect;
pub use play::Play;
pub use run::{Lab, Stage, default_logs, run};

/// Which implementation of live update a kernel has.
#[derive(
    Debug, serde::Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// Upstream's.
    C,
    /// Ours.
    Rust,
}

impl Flavor {
    /// What machines and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Rust => "rust",
        }
    }
}

/// One step.
#[derive(Debug, Clone)]
pub enum Action {
    /// Has the agent do something.
    Do(Op, Expect),
    /// Loads a kernel and goes there.
    Kexec(Hop),
    /// Loads a kernel and has the running one refuse to go there.
    KexecRefused(Hop, i32),
    /// Remembers how much memory is free.
    MarkMemory(&'static str),
    /// Compares free memory with a mark; loses at most so many KiB.
    SameMemory {
        /// The mark's name.
        mark: &'static str,
        /// What may be missing.
        tolerance_kib: u64,
    },
    /// The running kernel has printed a line with this text.
    Printed(&'static str),
    /// The running kernel has not.
    NotPrinted(&'static str),
    /// Steps of which each depends on what the one before gave.
    Play(Play),
    /// Has the agent do something by which the machine gets into a kernel that prints a line with this text, and has no agent.
    /// With that the scenario ends.
    Last(Op, &'static str),
    /// Tells ours from C's: see the module's text. `symptom` is part of the error that C's defect leads to.
    Judge {
        /// What ours does and C does not.
        action: Box<Action>,
        /// In C's error.
        symptom: &'static str,
    },
}

/// A step from one kernel to the next.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// The next kernel.
    pub into: Flavor,
    /// More words on its command line.
    pub cmdline: &'static str,
    /// The system call that loads it.
    pub method: LoadMethod,
    /// How long until its agent answers.
    pub timeout_s: u64,
    /// Ask again as long as the kernel refuses with `EBUSY`: somebody is about to finish a session.
    pub insists: bool,
}

impl Hop {
    /// The usual way.
    pub fn to(into: Flavor) -> Self {
        Self {
            into,
            cmdline: "",
            method: LoadMethod::File,
            timeout_s: 120,
            insists: false,
        }
    }
}

/// What the machine of a scenario has in its initial ramdisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The base, and upstream's selftests.
    Base,
    /// The base, luod, luoctl and their clients.
    Agent,
    /// The same under systemd.
    Systemd,
}

/// A list of actions with a name.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// In reports, and for filters.
    pub name: String,
    /// The kernel that boots first.
    pub first: Flavor,
    /// The kernel that is judged.
    pub judged: Flavor,
    /// What its machine has.
    pub image: Image,
    /// Makes its machine other than the usual one.
    pub adapt: fn(&mut MachineConfig),
    /// What happens.
    pub actions: Vec<Action>,
    /// Parts of lines that would be trouble, but belong here.
    pub expected_trouble: Vec<&'static str>,
    /// The scenario tests the test bed: it passes when it fails with this in the error.
    pub must_fail_with: Option<&'static str>,
}

impl Scenario {
    /// A scenario without expected trouble whose first kernel is the judged one.
    pub fn new(name: impl Into<String>, first: Flavor, actions: Vec<Action>) -> Self {
        Self {
            name: name.into(),
            first,
            judged: first,
            image: Image::Base,
            adapt: |_| {},
            actions,
            expected_trouble: Vec::new(),
            must_fail_with: None,
        }
    }

    /// Its machine is other than the usual one.
    #[must_use]
    pub fn on(mut self, adapt: fn(&mut MachineConfig)) -> Self {
        self.adapt = adapt;
        self
    }

    /// The scenario has to fail, with this in the error.
    #[must_use]
    pub fn failing_with(mut self, symptom: &'static str) -> Self {
        self.must_fail_with = Some(symptom);
        self
    }

    /// Trouble of this kind belongs to the scenario.
    #[must_use]
    pub fn expecting(mut self, part: &'static str) -> Self {
        self.expected_trouble.push(part);
        self
    }

    /// Every kernel that runs in it.
    pub fn flavors(&self) -> Vec<Flavor> {
        let mut flavors = vec![self.first];
        for action in &self.actions {
            let action = if let Action::Judge { action, .. } = action {
                action
            } else {
                action
            };
            match action {
                Action::Kexec(hop) | Action::KexecRefused(hop, _) => flavors.push(hop.into),
                Action::Play(play) => flavors.extend(&play.kernels),
                _ => {}
            }
        }
        flavors.sort();
        flavors.dedup();
        flavors
    }
}
