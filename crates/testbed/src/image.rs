// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Initial ramdisks: newc archives of files, and of programs with all the shared libraries they need.
//!
//! They are not compressed: under emulation the kernel unpacks them slower than it copies them.

mod client;
mod elf;
mod guest;
pub(crate) mod systemd;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cpio::{NewcBuilder, newc};

pub use client::build_client;
pub use guest::{AgentPrograms, build_agent, build_guest};

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// The contents of an initial ramdisk, by path.
#[derive(Debug, Clone, Default)]
pub struct Image {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    mode: u32,
    bytes: Vec<u8>,
}

impl Image {
    /// The image every test machine starts with: `luo-guest` as `/init`, busybox with its applets, an account file.
    ///
    /// # Errors
    /// When busybox is missing or `luo-guest` cannot be built.
    pub fn base() -> Result<Self> {
        let mut image = Self::default();
        let guest = build_guest()?;
        image.file_from("/init", &guest)?;
        image.link("/bin/kexec-now", "/init");
        image.file("/etc/passwd", ROOT_USER.into(), 0o644);
        image.file("/etc/group", ROOT_GROUP.into(), 0o644);
        image.file("/etc/profile", PROFILE.to_vec(), 0o644);
        image.directory("/root");
        image.busybox()?;
        Ok(image)
    }

    /// Adds luod, luoctl and their clients, two users, and a policy by which root is the operator and ids that begin with a user's
    /// name are that user's.
    ///
    /// # Errors
    /// When one of them cannot be built.
    pub fn agent(&mut self) -> Result<()> {
        let programs = build_agent()?;
        let client = build_client()?;
        for program in [programs.luod, programs.luoctl, programs.example, client] {
            let name = program.file_name().context("a program has a name")?;
            self.file_from(Path::new("/bin").join(name), &program)?;
        }
        let passwd = format!("{ROOT_USER}{OTHER_USERS}");
        self.file("/etc/passwd", passwd.into_bytes(), 0o644);
        let group = format!("{ROOT_GROUP}{OTHER_GROUPS}");
        self.file("/etc/group", group.into_bytes(), 0o644);
        self.file("/etc/luod/policy.toml", POLICY.into(), 0o644);
        Ok(())
    }

    /// Adds a directory and its parents.
    pub fn directory(&mut self, path: impl AsRef<Path>) {
        let path = relative(path.as_ref());
        for parent in path
            .ancestors()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.entries.entry(parent.to_owned()).or_insert(Entry {
                mode: DIRECTORY,
                bytes: Vec::new(),
            });
        }
    }

    /// Adds a file.
    pub fn file(&mut self, path: impl AsRef<Path>, bytes: Vec<u8>, permissions: u32) {
        self.insert(path.as_ref(), REGULAR | permissions, bytes);
    }

    /// Adds a copy of the host's file `from`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file_from(&mut self, path: impl AsRef<Path>, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let permissions = fs::metadata(from)?.permissions().mode() & 0o777;
        self.file(path, bytes, permissions);
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl AsRef<Path>, target: &str) {
        self.insert(path.as_ref(), LINK, target.as_bytes().to_vec());
    }

    /// Adds a program of the host, at its own path, with its loader and all its libraries.
    ///
    /// # Errors
    /// When it, or a library it needs, is missing.
    pub fn program(&mut self, path: &Path) -> Result<()> {
        self.program_of(Path::new("/"), path)
    }

    /// The same for a program of a system that is unpacked below `root`.
    fn program_of(&mut self, root: &Path, path: &Path) -> Result<()> {
        self.file_from(path, &elf::below(root, path))?;
        for needed in elf::needed(root, path)? {
            self.file_from(&needed, &elf::below(root, &needed))?;
        }
        Ok(())
    }

    /// The archive.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let path = path
                .to_str()
                .with_context(|| format!("not UTF-8: {}", path.display()))?;
            let builder = NewcBuilder::new(path).ino(number).mode(entry.mode).nlink(1);
            let mut writer = builder.write(&mut archive, u32::try_from(entry.bytes.len())?);
            std::io::Write::write_all(&mut writer, &entry.bytes)?;
            writer.finish()?;
        }
        newc::trailer(&mut archive)?;
        Ok(archive)
    }

    fn busybox(&mut self) -> Result<()> {
        let path = Path::new("/bin/busybox");
        let busybox = fs::read(path)
            .context("cannot read /bin/busybox; install the package busybox-static")?;
        ensure!(
            elf::is_static(&busybox)?,
            "/bin/busybox needs shared libraries; install the package busybox-static"
        );
        self.file(path, busybox, 0o755);
        let list = Command::new(path)
            .arg("--list")
            .output()
            .context("cannot run /bin/busybox")?;
        for applet in String::from_utf8_lossy(&list.stdout)
            .lines()
            .filter(|applet| *applet != "busybox")
        {
            self.link(Path::new("/bin").join(applet), "busybox");
        }
        Ok(())
    }

    fn insert(&mut self, path: &Path, mode: u32, bytes: Vec<u8>) {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.entries.insert(relative(path), Entry { mode, bytes });
    }
}

const ROOT_USER: &str = "root:x:0:0:root:/root:/bin/sh\n";
const ROOT_GROUP: &str = "root:x:0:\n";
const OTHER_USERS: &str =
    "alice:x:1000:1000:alice:/tmp:/bin/sh\nbob:x:1001:1001:bob:/tmp:/bin/sh\n";
const OTHER_GROUPS: &str = "alice:x:1000:\nbob:x:1001:\n";
/// Users by name and by number.
const POLICY: &str = r#"operators = ["root"]

[[owner]]
ids = ["alice-*"]
user = "alice"

[[owner]]
ids = ["bob-*"]
user = 1001
"#;

/// For shells that people use.
const PROFILE: &[u8] = b"PS1='guest# '\nPATH=/bin:/sbin:/usr/bin:/usr/sbin\nexport PS1 PATH\n[ -f /etc/motd ] && cat /etc/motd\n";

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() -> Result<()> {
        let mut image = Image::default();
        image.file("/usr/share/x", b"hello".to_vec(), 0o640);
        image.link("/usr/y", "share/x");
        let archive = image.archive()?;
        let mut rest = archive.as_slice();
        let mut seen = Vec::new();
        loop {
            let mut reader = newc::Reader::new(rest)?;
            if reader.entry().is_trailer() {
                break;
            }
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut bytes)?;
            seen.push((
                reader.entry().name().to_owned(),
                reader.entry().mode(),
                bytes,
            ));
            rest = reader.finish()?;
        }
        let wanted = [
            ("usr", DIRECTORY, &b""[..]),
            ("usr/share", DIRECTORY, b""),
            ("usr/share/x", REGULAR | 0o640, b"hello"),
            ("usr/y", LINK, b"share/x"),
        ];
        let seen: Vec<_> = seen
            .iter()
            .map(|(name, mode, bytes)| (name.as_str(), *mode, bytes.as_slice()))
            .collect();
        assert_eq!(seen, wanted);
        Ok(())
    }
}
