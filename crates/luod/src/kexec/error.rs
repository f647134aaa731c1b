// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Why a kernel cannot be loaded, and what to do about it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

/// Why there is no next kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Kernel or initial ramdisk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else, or a kernel of another kind.
    #[error(transparent)]
    NotAKernel(NotAKernel),
    /// The kernel would read its beginning only.
    #[error("the command line has {length} bytes, and this kernel reads {longest}: shorten it")]
    CmdlineTooLong {
        /// What it has.
        length: usize,
        /// What the kernel reads.
        longest: usize,
    },
    /// The kernel would read what stands before it.
    #[error("the command line contains a NUL byte")]
    CmdlineNul,
    /// The running kernel refused.
    #[error("the kernel refuses {what}: {errno}: {why}")]
    Refused {
        /// What it was asked for.
        what: String,
        /// Its answer.
        errno: Errno,
        /// What that means here, and the way out.
        why: String,
    },
}

impl LoadError {
    pub(super) fn kernel(kernel: &Path, errno: Errno) -> Self {
        Self::refused(format!("to load {}", kernel.display()), errno)
    }

    pub(super) fn unload(errno: Errno) -> Self {
        Self::refused("to unload the next kernel".into(), errno)
    }

    fn refused(what: String, errno: Errno) -> Self {
        let why = explain(errno, &Locks::of_this_machine());
        Self::Refused { what, errno, why }
    }
}

/// A file that is no kernel which can be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotAKernel {
    path: PathBuf,
    what: String,
}

impl fmt::Display for NotAKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

impl NotAKernel {
    fn new(what: impl Into<String>) -> Self {
        Self {
            path: PathBuf::new(),
            what: what.into(),
        }
    }

    pub(super) fn of(self, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    pub(super) fn no_header(head: &[u8]) -> Self {
        let hint = match head {
            [0x7f, b'E', b'L', b'F', ..] => {
                ": it is an ELF file, perhaps vmlinux; load arch/x86/boot/bzImage"
            }
            [0x1f, 0x8b, ..] | [0xfd, b'7', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                ": it is compressed, perhaps an initial ramdisk"
            }
            [b'M', b'Z', ..] => ": it is an EFI program; of a unified kernel image, extract .linux",
            _ => "",
        };
        Self::new(format!("is no bzImage{hint}"))
    }

    pub(super) fn old(protocol: u16) -> Self {
        let [major, minor] = protocol.to_be_bytes();
        Self::new(format!(
            "speaks boot protocol {major}.{minor}, and kexec needs 2.12 (Linux 3.8 or later)"
        ))
    }

    pub(super) fn not_64_bit() -> Self {
        Self::new("has no 64-bit entry: build it with CONFIG_64BIT=y")
    }

    pub(super) fn not_relocatable() -> Self {
        Self::new(
            "cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G), which kexec wants: build it with CONFIG_RELOCATABLE=y",
        )
    }
}

/// What may forbid to load a kernel.
#[derive(Debug, Default)]
struct Locks {
    root: bool,
    disabled: bool,
    /// None if there is no lockdown.
    lockdown: Option<String>,
}

impl Locks {
    fn of_this_machine() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let lockdown = read("/sys/kernel/security/lockdown");
        let chosen = lockdown
            .split('[')
            .nth(1)
            .and_then(|it| it.split(']').next());
        Self {
            root: rustix::process::geteuid().is_root(),
            disabled: read("/proc/sys/kernel/kexec_load_disabled").trim() == "1",
            lockdown: chosen.filter(|it| *it != "none").map(str::to_owned),
        }
    }
}

fn explain(errno: Errno, locks: &Locks) -> String {
    match errno {
        Errno::PERM if locks.disabled => "kernel.kexec_load_disabled is 1 until the next boot: set it \
             after loading, or not at all"
            .into(),
        Errno::PERM if !locks.root => "only root may (CAP_SYS_BOOT)".into(),
        Errno::PERM => match &locks.lockdown {
            Some(mode) => format!(
                "the kernel is locked down ({mode}), so the image has to be signed with a key that it trusts"
            ),
            None => "CAP_SYS_BOOT is missing, or kernel.kexec_load_limit_reboot is used up".into(),
        },
        Errno::NOEXEC => "it is no bzImage that kexec can load: the image is damaged, or was built without \
             CONFIG_RELOCATABLE=y"
            .into(),
        Errno::NOKEY | Errno::KEYREJECTED | Errno::BADMSG | Errno::NODATA => {
            "its signature is missing, broken, or by a key that is not trusted (CONFIG_KEXEC_SIG_FORCE): \
             sign it, or load the distribution's own kernel"
                .into()
        }
        Errno::ADDRNOTAVAIL => "kernel and initial ramdisk do not fit into KHO's scratch memory: use a smaller \
             initial ramdisk, or boot with a larger kho_scratch="
            .into(),
        Errno::NOMEM => "there is not enough free memory for the kernel, its initial ramdisk and its start: \
             free some, or use a smaller initial ramdisk"
            .into(),
        Errno::BUSY => "another program is loading a kernel, or the machine is going down already: try again".into(),
        Errno::NOSYS => "it has no kexec_file_load(2): build it with CONFIG_KEXEC_FILE=y".into(),
        Errno::INVAL => "an argument does not suit it; its log may say which".into(),
        _ => "its log may say more".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_load_is_told_why_not() {
        let root = || Locks {
            root: true,
            ..Locks::default()
        };
        let user = explain(Errno::PERM, &Locks::default());
        assert!(user.contains("only root"), "{user}");
        let disabled = Locks {
            disabled: true,
            ..root()
        };
        assert!(explain(Errno::PERM, &disabled).contains("kexec_load_disabled"));
        let locked = Locks {
            lockdown: Some("integrity".into()),
            ..root()
        };
        assert!(explain(Errno::PERM, &locked).contains("locked down (integrity)"));
        assert!(explain(Errno::PERM, &root()).contains("CAP_SYS_BOOT"));
    }

    #[test]
    fn a_refusal_names_the_file_the_errno_and_the_way_out() {
        let text = LoadError::kernel(Path::new("/boot/k"), Errno::NOEXEC).to_string();
        for part in ["/boot/k", "format", "CONFIG_RELOCATABLE=y"] {
            assert!(text.contains(part), "{text}");
        }
        let text = LoadError::kernel(Path::new("/boot/k"), Errno::ADDRNOTAVAIL).to_string();
        assert!(text.contains("kho_scratch="), "{text}");
    }
}
