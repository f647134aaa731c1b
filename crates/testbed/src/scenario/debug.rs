// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kernels with debugging aids: slow, hungry, and with more to say at the end.

use std::{fs, path::Path};

use crate::machine::MachineConfig;

/// A kernel with KASAN needs an eighth of all memory at boot. Handover sets twice that aside for the next kernel, in one piece,
/// which is not to be had; the same again is enough, unless the kernel has put itself, at random, into the middle of it.
const KASAN_CMDLINE: &str = "kho_scratch=100% nokaslr";
/// In less there is no piece that is large enough.
const KASAN_MEMORY_MIB: u32 = 4096;
/// Time limits are so many times longer.
const KASAN_PATIENCE: u32 = 6;
const LOCKDEP_PATIENCE: u32 = 3;
/// KASAN keeps freed objects back, up to a thirty-second of all memory; kmemleak finds what a comparison cannot see for it.
const QUARANTINE_KIB: u64 = KASAN_MEMORY_MIB as u64 * 1024 / 32;
/// Where kmemleak is asked.
pub(super) const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// kmemleak does not report what is younger than 5 s.
pub(super) const KMEMLEAK_AGE_MS: u64 = 5500;

/// Names in the backtraces of what live update has allocated.
const OURS: [&str; 4] = ["luo", "liveupdate", "kho_", "memfd_luo"];

/// Makes a machine fit for the aids in its kernels.
pub(super) fn adapt(machine: &mut MachineConfig) {
    let any_has = |option| machine.kernels.iter().any(|it| has(&it.image, option));
    let (lockdep, kasan) = (any_has("CONFIG_PROVE_LOCKING=y"), any_has("CONFIG_KASAN=y"));
    if lockdep {
        machine.patience = LOCKDEP_PATIENCE;
    }
    if kasan {
        machine.patience = KASAN_PATIENCE;
        machine.memory_mib = KASAN_MEMORY_MIB;
        machine.held_back_kib = QUARANTINE_KIB;
        machine.extra_cmdline = format!("{KASAN_CMDLINE} {}", machine.extra_cmdline);
    }
}

/// Whether an image's configuration, which stands beside it, has this line.
fn has(image: &Path, option: &str) -> bool {
    let config = fs::read_to_string(image.with_file_name("config"));
    config.is_ok_and(|config| config.lines().any(|line| line == option))
}

/// The objects in kmemleak's report that live update has allocated.
pub(super) fn our_leaks(report: &str) -> Vec<String> {
    let mut objects: Vec<String> = Vec::new();
    for line in report.lines() {
        match objects.last_mut() {
            Some(object) if !line.starts_with("unreferenced object") => {
                object.push('\n');
                object.push_str(line);
            }
            _ => objects.push(line.to_owned()),
        }
    }
    objects.retain(|object| OURS.iter().any(|name| object.contains(name)));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_updates_leaks_are_ours() {
        let report = "unreferenced object 0x1 (size 64):\n  comm \"a\"\n  backtrace:\n    acpi_init\n\
                      unreferenced object 0x2 (size 128):\n  backtrace:\n    rust_luo::session::create\n";
        let leaks = our_leaks(report);
        assert_eq!(leaks.len(), 1);
        assert!(leaks[0].starts_with("unreferenced object 0x2"), "{leaks:?}");
        assert!(our_leaks("").is_empty());
    }
}
