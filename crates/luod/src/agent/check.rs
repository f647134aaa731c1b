// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Would an update now lose anything?

use super::{Agent, say};
use crate::{
    kernel::Kernel,
    kexec,
    protocol::{Check, Finding, Severity},
};

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, name: &str, message: String, remedy: Option<String>) {
        self.0.push(Finding {
            severity,
            name: name.to_owned(),
            message,
            remedy,
        });
    }

    fn fine(&mut self, name: &str, message: impl Into<String>) {
        self.add(Severity::Fine, name, message.into(), None);
    }

    fn warn(&mut self, name: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, name, message.into(), Some(remedy.into()));
    }

    fn problem(&mut self, name: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Problem, name, message.into(), Some(remedy.into()));
    }
}

impl<K: Kernel> Agent<K> {
    pub(super) fn check(&mut self) -> Check {
        self.sweep(|_| true);
        let mut found = Findings(Vec::new());
        self.check_kernel(&mut found);
        self.check_clients(&mut found);
        self.check_incoming(&mut found);
        self.check_kept(&mut found);
        let ok = found.0.iter().all(|it| it.severity != Severity::Problem);
        Check {
            ok,
            findings: found.0,
        }
    }

    fn check_kernel(&self, found: &mut Findings) {
        let kernel = self.kernel_report();
        match &kernel.unsupported {
            Some(why) => found.problem("live-update", why, "boot a kernel that has it"),
            None => found.fine("live-update", format!("{} has it", kernel.release)),
        }
        match (&kernel.image, kernel.image_loaded) {
            (_, false) => found.problem(
                "image",
                "no next kernel is loaded",
                "luoctl load KERNEL --initrd FILE --reuse-cmdline",
            ),
            (None, true) => {
                let message = "a kernel is loaded, but not by luoctl: it may carry nothing over";
                let remedy = "luoctl load, which says what is wrong with an image";
                if self.kernel.leaves_at_once() {
                    found.warn("image", message, remedy);
                } else {
                    found.problem("image", message, remedy);
                }
            }
            (Some(image), true) => {
                let version = image.version.as_deref().unwrap_or("of unknown version");
                found.fine("image", format!("{} ({version})", image.kernel));
                let lacking = kexec::lacking(&image.cmdline);
                if !lacking.is_empty() {
                    found.problem(
                        "cmdline",
                        format!("the next kernel's command line lacks {}", lacking.join(" ")),
                        "luoctl load --cmdline, with it",
                    );
                }
                if image.initrd.is_none() {
                    found.warn(
                        "initrd",
                        "the next kernel has no initial ramdisk",
                        "luoctl load --initrd, if it needs one to find its disks",
                    );
                }
            }
        }
    }

    fn check_clients(&self, found: &mut Findings) {
        let connected =
            |id: &crate::protocol::Id| self.peers.values().any(|it| it.ids.contains(id));
        let mut missing = 0;
        for id in self.policy.required.iter().filter(|it| !connected(it)) {
            missing += 1;
            let remedy = "start it, or take it out of the policy's list";
            found.problem(
                "clients",
                format!("{id} is required, and not subscribed"),
                remedy,
            );
        }
        let known = self.ledger.known.keys();
        let known = known.filter(|it| !self.policy.required.contains(it) && !connected(it));
        // Who waits to be claimed is counted there.
        for id in known.filter(|it| !self.ledger.incoming.contains_key(it)) {
            missing += 1;
            found.warn(
                "clients",
                format!("{id} took part before, and is not subscribed: nothing of it would be carried over"),
                "start it, if it has something to lose",
            );
        }
        if missing == 0 {
            let subscribed: usize = self.peers.values().map(|it| it.ids.len()).sum();
            found.fine(
                "clients",
                format!("{subscribed} subscribed, and nobody missing"),
            );
        }
    }

    fn check_incoming(&self, found: &mut Findings) {
        // A kernel that shows what it has been left also carries on what nobody has claimed.
        let carries_on = self.kernel.incoming().is_some();
        for (id, arrived) in &self.ledger.incoming {
            let wait = "wait until its client has claimed it, or luoctl discard";
            let subscribed = self.peers.values().any(|it| it.ids.contains(id));
            match (self.is_claimed(id), &arrived.unavailable) {
                (true, _) => found.problem(
                    "incoming",
                    format!("{id} has claimed its session, and not finished it"),
                    "wait until its client says DONE; luoctl discard, if it never will",
                ),
                (false, Some(why)) => found.problem(
                    "incoming",
                    format!("the session of {id} cannot be had: {why}"),
                    "mend the cause and let its client claim it, or luoctl discard",
                ),
                (false, None) if subscribed => found.problem(
                    "incoming",
                    format!(
                        "{id} is subscribed, and has not claimed its session of the previous update"
                    ),
                    wait,
                ),
                (false, None) if self.held.contains_key(id) => found.problem(
                    "incoming",
                    format!("nobody has claimed {id}, which the service manager has retrieved: it cannot be carried on"),
                    wait,
                ),
                (false, None) if carries_on => {
                    found.warn(
                        "incoming",
                        format!("nobody has claimed {id}; it would be carried on"),
                        wait,
                    );
                }
                (false, None) => {
                    found.problem(
                        "incoming",
                        format!("nobody has claimed {id}; this kernel would lose it"),
                        wait,
                    );
                }
            }
        }
        if self.ledger.incoming.is_empty() {
            found.fine(
                "incoming",
                "nothing of the previous kernel waits to be claimed",
            );
        }
        if let Some(left) = self.kernel.incoming().filter(|it| it.leaked_bytes > 0) {
            let message = format!(
                "{} KiB of the previous kernel cannot be used: {}",
                left.leaked_bytes >> 10,
                left.leaked.join("; ")
            );
            found.warn("leaked", message, "it is free again after a cold boot");
        }
    }

    fn check_kept(&self, found: &mut Findings) {
        for complaint in &self.ledger.complaints {
            found.problem(
                "arrival",
                complaint,
                "restart luod to try again; see its log",
            );
        }
        for name in self.ledger.kept.keys() {
            match self.keeper.pack(name) {
                Ok(_) => {}
                Err(err) => found.problem("kept", format!("{name}: {err}"), "see the folder"),
            }
        }
        let bytes: u64 = self
            .ledger
            .kept
            .keys()
            .filter_map(|it| self.keeper.sizes(it))
            .map(|it| it.1)
            .sum();
        if !self.ledger.kept.is_empty() {
            let number = self.ledger.kept.len();
            found.fine(
                "kept",
                format!("{number} files with {} MiB in use", bytes >> 20),
            );
        }
        match free_bytes() {
            Ok(free) if free < ENOUGH_BYTES => found.warn(
                "memory",
                format!("only {} MiB are available", free >> 20),
                "preserving takes up to 4 MiB for each GiB of small pages on upstream's kernel",
            ),
            Ok(free) => found.fine("memory", format!("{} MiB are available", free >> 20)),
            Err(err) => say(format_args!("cannot read /proc/meminfo: {err}")),
        }
    }
}

/// Below, an update may fail for lack of memory; nothing is lost then.
const ENOUGH_BYTES: u64 = 64 << 20;

fn free_bytes() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|it| it.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|it| it << 10)
        .ok_or_else(|| std::io::Error::other("no MemAvailable"))
}
