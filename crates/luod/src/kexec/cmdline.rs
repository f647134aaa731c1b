// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The next kernel's command line.

/// What has to be on: without the first there is no hand-over, without the second nobody reads it.
pub const REQUIRED: [&str; 2] = ["kho", "liveupdate"];

/// What boot loaders add, and what is not true of a kernel that kexec starts.
const OF_THE_LOADER: [&str; 3] = ["BOOT_IMAGE", "initrd", "kexec_jump_back_entry"];

/// The command line of the running kernel (`/proc/cmdline`) for the next one: without what the boot loader has added.
pub fn reuse(running: &str) -> String {
    let kept = words(running).filter(|word| !OF_THE_LOADER.contains(&split(word).0));
    kept.collect::<Vec<_>>().join(" ")
}

/// Those of [`REQUIRED`] that are missing or off, as they should stand there: `kho=on`.
pub fn lacking(cmdline: &str) -> Vec<String> {
    let is_on = |name: &str| {
        // The last one counts. What follows `--` is for init.
        let of_kernel = words(cmdline).take_while(|word| *word != "--");
        let values = of_kernel.map(split).filter(|(key, _)| *key == name);
        values.last().is_some_and(|(_, value)| is_true(value))
    };
    let missing = REQUIRED.iter().filter(|name| !is_on(name));
    missing.map(|name| format!("{name}=on")).collect()
}

/// As `kstrtobool()` reads it.
fn is_true(value: &str) -> bool {
    let value = value.trim_matches('"').to_ascii_lowercase();
    value.starts_with(['1', 'y', 't', 'e']) || value.starts_with("on")
}

/// As the kernel takes `a=b` apart.
fn split(word: &str) -> (&str, &str) {
    word.trim_start_matches('"')
        .split_once('=')
        .unwrap_or((word, ""))
}

/// By blanks, but not within quotes.
fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let separates = move |it: char| {
        quoted ^= it == '"';
        it.is_ascii_whitespace() && !quoted
    };
    cmdline.split(separates).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_loader_added_goes_and_all_else_stays() {
        let running = "BOOT_IMAGE=/vmlinuz-7.2 root=UUID=1 ro initrd=\\initrd.img dyndbg=\"file a +p\" quiet -- single\n";
        let expected = "root=UUID=1 ro dyndbg=\"file a +p\" quiet -- single";
        assert_eq!(reuse(running), expected);
        assert_eq!(reuse(""), "");
    }

    #[test]
    fn what_is_missing_or_off_is_named() {
        let nothing: [String; 0] = [];
        assert_eq!(lacking("quiet kho=on liveupdate=on"), nothing);
        assert_eq!(lacking("kho=1 liveupdate=Y"), nothing);
        assert_eq!(lacking("quiet"), ["kho=on", "liveupdate=on"]);
        assert_eq!(lacking("kho=on liveupdate=off"), ["liveupdate=on"]);
        assert_eq!(lacking("kho=off kho=on liveupdate=on kho=0"), ["kho=on"]);
        assert_eq!(lacking("kho=on -- liveupdate=on"), ["liveupdate=on"]);
        assert_eq!(
            lacking("a=\"kho=on liveupdate=on\""),
            ["kho=on", "liveupdate=on"]
        );
        assert_eq!(
            lacking("nokho=on xliveupdate=on"),
            ["kho=on", "liveupdate=on"]
        );
    }
}
