// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The next kernel: what its file says of itself, loading it, and remembering what was loaded.
//!
//! Only `kexec_file_load(2)` will do: what `kexec_load(2)` loads gets no hand-over. The kernel does not tell afterwards what is
//! loaded, so whoever loads leaves a note for the agent ([`remember`]).

mod bzimage;
mod cmdline;
mod config;
mod error;

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use crate::protocol::Image;
pub use bzimage::{Kernel, inspect};
pub use cmdline::{REQUIRED, lacking, reuse};
pub use config::{CONFIG_REQUIRED, config_lacks};
pub use error::{LoadError, NotAKernel};

/// Where the agent and `luoctl load` keep what they have to tell each other.
pub const STATE_DIR: &str = "/run/luod";
/// The note, in that folder.
const NOTE: &str = "image.json";
const LOADED: &str = "/sys/kernel/kexec_loaded";

const KEXEC_FILE_UNLOAD: libc::c_ulong = 1;
const KEXEC_FILE_NO_INITRAMFS: libc::c_ulong = 4;

/// Loads `kernel` as the next one, in place of what is loaded already. What is loaded stays if this fails.
///
/// # Errors
/// [`LoadError`] says why, and the way out.
pub fn load(kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Result<Image, LoadError> {
    let found = inspect(kernel)?;
    let longest = found.cmdline_bytes as usize;
    if cmdline.len() > longest {
        let length = cmdline.len();
        return Err(LoadError::CmdlineTooLong { length, longest });
    }
    let terminated = CString::new(cmdline).map_err(|_| LoadError::CmdlineNul)?;
    let kernel_file = open(kernel)?;
    let initrd_file = initrd.map(open).transpose()?;
    let flags = match initrd {
        Some(_) => 0,
        None => KEXEC_FILE_NO_INITRAMFS,
    };
    kexec_file_load(Some(&kernel_file), initrd_file.as_ref(), &terminated, flags)
        .map_err(|errno| LoadError::kernel(kernel, errno))?;
    Ok(Image {
        kernel: absolute(kernel),
        version: Some(found.version).filter(|it| !it.is_empty()),
        initrd: initrd.map(absolute),
        cmdline: cmdline.to_owned(),
    })
}

/// Takes the loaded kernel away. Nothing happens if there is none.
///
/// # Errors
/// [`LoadError`].
pub fn unload() -> Result<(), LoadError> {
    kexec_file_load(None, None, c"", KEXEC_FILE_UNLOAD).map_err(LoadError::unload)
}

/// Whether a next kernel is loaded, by whatever means. Nothing if this kernel has no kexec.
pub fn is_loaded() -> Option<bool> {
    let text = fs::read_to_string(LOADED).ok()?;
    Some(text.trim() == "1")
}

/// Leaves a note of what is loaded.
///
/// # Errors
/// The folder is not there, or cannot be written in. An older note is gone then, if that was possible.
pub fn remember(state: &Path, image: &Image) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(image).expect("an image is JSON");
    let unfinished = state.join(format!("{NOTE}.new"));
    let written =
        write_public(&unfinished, &text).and_then(|()| fs::rename(&unfinished, state.join(NOTE)));
    if written.is_err() {
        // It would be of another kernel.
        let _ = forget(state);
    }
    written
}

/// Takes the note away.
///
/// # Errors
/// The folder cannot be written in.
pub fn forget(state: &Path) -> io::Result<()> {
    match fs::remove_file(state.join(NOTE)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// What is noted. Only of worth if a kernel [is loaded](is_loaded).
pub fn remembered(state: &Path) -> Option<Image> {
    let text = fs::read(state.join(NOTE)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write_public(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn open(path: &Path) -> Result<File, LoadError> {
    File::open(path).map_err(|source| LoadError::File {
        path: path.to_owned(),
        source,
    })
}

fn absolute(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    path.display().to_string()
}

fn kexec_file_load(
    kernel: Option<&File>,
    initrd: Option<&File>,
    cmdline: &std::ffi::CStr,
    flags: libc::c_ulong,
) -> Result<(), rustix::io::Errno> {
    let fd = |file: Option<&File>| file.map_or(-1, |it| libc::c_long::from(it.as_raw_fd()));
    let bytes = cmdline.to_bytes_with_nul();
    // SAFETY: the call reads two descriptors, which are open until it returns or which its flags make it ignore, and as many
    // bytes of `bytes` as are said to be there.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            fd(kernel),
            fd(initrd),
            bytes.len(),
            bytes.as_ptr(),
            flags,
        )
    };
    if result < 0 {
        let err = io::Error::last_os_error();
        return Err(rustix::io::Errno::from_io_error(&err).unwrap_or(rustix::io::Errno::IO));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_read_by_anybody_and_gone_when_it_would_be_wrong() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        assert_eq!(remembered(state.path()), None);
        let image = Image {
            kernel: "/boot/vmlinuz".into(),
            version: Some("7.2.12 (x@y)".into()),
            initrd: None,
            cmdline: "kho=on liveupdate=on".into(),
        };
        remember(state.path(), &image).unwrap();
        assert_eq!(remembered(state.path()), Some(image.clone()));
        let mode = fs::metadata(state.path().join(NOTE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o644);
        fs::create_dir(state.path().join("image.json.new")).unwrap();
        remember(state.path(), &image).unwrap_err();
        assert_eq!(remembered(state.path()), None);
        forget(state.path()).unwrap();
    }

    #[test]
    fn what_is_no_kernel_is_refused_before_the_kernel_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinuz");
        let missing = load(&path, None, "").unwrap_err();
        assert!(missing.to_string().contains("vmlinuz"), "{missing}");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(matches!(
            load(&path, None, ""),
            Err(LoadError::NotAKernel(_))
        ));
        fs::write(&path, bzimage::synthetic("7.2.12", bzimage::LOADABLE)).unwrap();
        let long = load(&path, None, &"x".repeat(3000)).unwrap_err();
        assert!(matches!(long, LoadError::CmdlineTooLong { .. }), "{long}");
        assert!(matches!(
            load(&path, None, "a\0b"),
            Err(LoadError::CmdlineNul)
        ));
    }
}
