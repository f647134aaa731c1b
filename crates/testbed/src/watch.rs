// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What may not stand in a kernel's log unnoticed.

/// Words that only trouble prints.
const TROUBLE: [&str; 24] = [
    "WARNING:",
    "BUG:",
    "BUG ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "Call Trace:",
    "KASAN",
    "kmemleak:",
    "UBSAN",
    "Bad page",
    "bad page",
    "Bad rss-counter",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "INFO: task",
    "soft lockup",
    "rcu: INFO:",
    "refcount_t:",
    "list_add corruption",
    "scheduling while atomic",
];

/// Lines that contain one of those words though all is well.
const HARMLESS: [&str; 3] = [
    // Their announcements at boot.
    "KernelAddressSanitizer initialized",
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread",
];

/// Whether a line of the console tells of trouble.
pub fn is_trouble(line: &str) -> bool {
    TROUBLE.iter().any(|word| line.contains(word))
        && !HARMLESS.iter().any(|word| line.contains(word))
}

/// Whether a line says that the kernel has stopped.
pub fn is_panic(line: &str) -> bool {
    line.contains("Kernel panic")
}

/// The lines of trouble that a scenario did not expect.
pub fn unexpected<'a>(lines: impl IntoIterator<Item = &'a str>, expected: &[&str]) -> Vec<&'a str> {
    lines
        .into_iter()
        .filter(|line| is_trouble(line) && !expected.iter().any(|part| line.contains(part)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_seen_and_the_expected_is_not() {
        let lines = [
            "[  1.0] WARNING: CPU: 0 PID: 1 at mm/x.c:1",
            "[  1.1] Linux version 7.2",
            "[ 2.0] Oops: 0000",
        ];
        assert_eq!(unexpected(lines, &[]), [lines[0], lines[2]]);
        assert_eq!(unexpected(lines, &["mm/x.c"]), [lines[2]]);
    }

    #[test]
    fn checkers_may_announce_themselves() {
        assert!(!is_trouble("kasan: KernelAddressSanitizer initialized"));
        assert!(is_trouble("BUG: KASAN: slab-use-after-free in luo_open"));
        assert!(is_trouble("kmemleak: 3 new suspected memory leaks"));
    }
}
