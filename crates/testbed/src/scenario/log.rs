// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the kernels of a scenario have said, and what they have leaked.

use anyhow::{Result, bail, ensure};
use luo_guest::proto::{LogLine, Op, Reply};

use super::{Expect, debug, run::Stage};
use crate::watch;

/// Log messages of these, at warning level or worse, are trouble too.
const OWN_MESSAGES: [&str; 5] = ["luo", "liveupdate", "kho", "memfd_luo", "rust_luo"];
/// Kernel log levels.
const WARNING: u8 = 4;

impl Stage<'_> {
    /// By the kernel's own account: the console may lag behind.
    pub(super) fn has_printed(&mut self, text: &str) -> Result<bool> {
        Ok(self
            .kernel_log()?
            .iter()
            .any(|line| line.text.contains(text)))
    }

    fn kernel_log(&mut self) -> Result<Vec<LogLine>> {
        match self.call(Op::Dmesg)? {
            Ok(Reply::Log(log)) => Ok(log),
            other => bail!("cannot read the kernel's log: {other:?}"),
        }
    }

    /// Asks kmemleak, where the kernel has it.
    pub(super) fn check_leaks(&mut self) -> Result<()> {
        let read = || Op::ReadFile {
            path: debug::KMEMLEAK.into(),
        };
        if self.call(read())?.is_err() {
            return Ok(());
        }
        Expect::Success.check(&self.call(Op::Sleep {
            ms: debug::KMEMLEAK_AGE_MS,
        })?)?;
        // What only moved during the first scan is found again by the second.
        for _ in 0..2 {
            let scan = Op::WriteFile {
                path: debug::KMEMLEAK.into(),
                bytes: b"scan".to_vec(),
            };
            Expect::Success.check(&self.call(scan)?)?;
        }
        let Ok(Reply::Bytes(report)) = self.call(read())? else {
            bail!("cannot read {}", debug::KMEMLEAK)
        };
        let leaks = debug::our_leaks(&String::from_utf8_lossy(&report));
        ensure!(leaks.is_empty(), "leaked:\n{}", leaks.join("\n"));
        Ok(())
    }

    /// The console from the beginning, and the running kernel's own log with its levels.
    pub(super) fn check_log(&mut self) -> Result<()> {
        let log = self.kernel_log()?;
        let lines = self.machine.console().lines();
        let console = lines.iter().map(|line| line.text.as_str());
        // The console's last lines may still be on their way.
        let texts = console.chain(log.iter().map(|line| line.text.as_str()));
        let trouble = watch::unexpected(texts, &self.scenario.expected_trouble);
        ensure!(
            trouble.is_empty(),
            "trouble in the kernel's log:\n    {}",
            trouble.join("\n    ")
        );
        let complaints: Vec<_> = log
            .iter()
            .filter(|line| is_complaint(line, &self.scenario.expected_trouble))
            .map(|line| &*line.text)
            .collect();
        ensure!(
            complaints.is_empty(),
            "live update complains in the kernel's log:\n    {}",
            complaints.join("\n    ")
        );
        Ok(())
    }
}

fn is_complaint(line: &LogLine, expected: &[&str]) -> bool {
    let text = line.text.to_lowercase();
    line.level <= WARNING
        && OWN_MESSAGES.iter().any(|prefix| text.starts_with(prefix))
        && !expected.iter().any(|part| line.text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_updates_own_warnings_are_complaints() {
        let line = |level, text: &str| LogLine {
            level,
            us: 0,
            text: text.into(),
        };
        assert!(is_complaint(
            &line(4, "luo_session: Unable to finish session [x] on release"),
            &[]
        ));
        assert!(is_complaint(&line(3, "KHO: failed"), &[]));
        assert!(!is_complaint(
            &line(6, "luo_core: Retrieved live update data"),
            &[]
        ));
        assert!(!is_complaint(
            &line(4, "APIC calibration not consistent"),
            &[]
        ));
        assert!(!is_complaint(&line(4, "luo: no handler"), &["no handler"]));
    }
}
