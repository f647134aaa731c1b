// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Machines whose process 1 is systemd, and luod a service as it is installed.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{Image, elf};

/// For the kernel's command line.
pub(crate) const CMDLINE: &str =
    "rdinit=/usr/lib/systemd/systemd systemd.log_target=console systemd.show_status=no";
/// A service that is a client of luod's. It gets its words from the variable `WORDS` of systemd, and writes to [`CLIENT_LOG`].
pub(crate) const CLIENT: &str = "alice-unit";
/// What the client says.
pub(crate) const CLIENT_LOG: &str = "/tmp/alice-unit.log";

const PROGRAMS: [&str; 4] = [
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-executor",
    "/usr/lib/systemd/systemd-shutdown",
    "/usr/bin/systemctl",
];
/// What it loads when it needs it: for mounts, and for the sandbox of luod's unit.
const LIBRARIES: [&str; 2] = ["libmount.so.1", "libseccomp.so.2"];
const LIBRARY_FOLDER: &str = "/usr/lib/x86_64-linux-gnu";
const UNITS: &str = "/usr/lib/systemd/system";
const OWN_UNITS: &str = "/etc/systemd/system";
/// The only service of systemd's own that is needed; of its targets, all are there.
const KEXEC: &str = "systemd-kexec.service";

/// The way to a shutdown of all services, as the unit in `dist/` describes it.
const THROUGH_SYSTEMD: &str =
    "[Service]\nExecStart=\nExecStart=/usr/sbin/luod --reboot-command \"systemctl kexec\"\n";
/// There is no journal.
const TO_CONSOLE: &str = "[Service]\nStandardError=tty\n";
/// The test bed's agent, which lives until the very end.
const GUEST: &str = "[Unit]\nDefaultDependencies=no\n\
    [Service]\nExecStartPre=/bin/mount -t debugfs debugfs /sys/kernel/debug\nExecStart=/init agent\n\
    Environment=PATH=/bin:/sbin:/usr/bin:/usr/sbin\n\
    LimitNOFILE=1048576\nStandardOutput=tty\nStandardError=tty\n";

impl Image {
    /// Adds systemd from a system that is unpacked below `root`, and units for luod, a client of it and the test bed's agent. luod
    /// has to be there.
    ///
    /// # Errors
    /// When something is missing in that system.
    pub fn systemd(&mut self, root: &Path) -> Result<()> {
        let libraries = LIBRARIES.map(|name| format!("{LIBRARY_FOLDER}/{name}"));
        for program in PROGRAMS
            .iter()
            .copied()
            .chain(libraries.iter().map(String::as_str))
        {
            self.program_of(root, Path::new(program))?;
        }
        let units = elf::below(root, Path::new(UNITS));
        let list =
            fs::read_dir(&units).with_context(|| format!("cannot list {}", units.display()))?;
        for entry in list {
            let path = entry?.path();
            let is_target = path.extension().is_some_and(|it| it == "target");
            let name = path.file_name().context("an entry has a name")?;
            if path.is_file() && (is_target || name == KEXEC) {
                self.file_from(Path::new(UNITS).join(name), &path)?;
            }
        }
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/luod.service");
        self.file_from(format!("{UNITS}/luod.service"), &dist)?;
        self.unit("luod.service.d/kexec.conf", THROUGH_SYSTEMD);
        self.unit("luod.service.d/log.conf", TO_CONSOLE);
        self.unit("luo-guest.service", GUEST);
        // As the protocol's clients are to be: started after luod, and so ended before it.
        let client = format!(
            "[Unit]\nAfter=luod.service\nWants=luod.service\n\
             [Service]\nUser=alice\nExecStart=/init service {CLIENT} $WORDS\nStandardOutput=truncate:{CLIENT_LOG}\n\
             StandardError=tty\n"
        );
        self.unit(&format!("{CLIENT}.service"), &client);
        self.link(
            format!("{OWN_UNITS}/default.target"),
            &format!("{UNITS}/multi-user.target"),
        );
        let enabled = [(UNITS, "luod.service"), (OWN_UNITS, "luo-guest.service")];
        for (folder, service) in enabled {
            let wants = format!("{OWN_UNITS}/multi-user.target.wants/{service}");
            self.link(wants, &format!("{folder}/{service}"));
        }
        self.link("/usr/sbin/luod", "/bin/luod");
        self.directory("/tmp");
        Ok(())
    }

    fn unit(&mut self, name: &str, text: &str) {
        self.file(format!("{OWN_UNITS}/{name}"), text.into(), 0o644);
    }
}
