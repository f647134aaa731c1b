// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What can be seen without the agent.

use std::{fs, path::Path};

use liveupdate::{DEVICE_PATH, INCOMING_PATH};
use luod::{kexec, protocol::Image};
use serde::Serialize;

/// This machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Local {
    /// As `uname -r` gives it.
    pub(crate) release: String,
    /// Whether the kernel has live update, and it is on.
    pub(crate) device: bool,
    /// What the running kernel's command line lacks for it.
    pub(crate) cmdline_lacks: Vec<String>,
    /// Whether a next kernel is loaded; nothing if there is no kexec.
    pub(crate) image_loaded: Option<bool>,
    /// Which, if `luoctl load` has loaded it.
    pub(crate) image: Option<Image>,
    /// What the previous kernel has left, in the kernel's words; nothing if it does not tell, or not this user.
    pub(crate) incoming: Option<Vec<String>>,
}

impl Local {
    /// Looks; `root` is `/` but in tests.
    pub(crate) fn look(root: &Path, state: &Path) -> Self {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let read = |path: &str| fs::read_to_string(below(path));
        let image_loaded = read("sys/kernel/kexec_loaded").ok();
        let image_loaded = image_loaded.map(|text| text.trim() == "1");
        let incoming = read(INCOMING_PATH).ok();
        let uname = rustix::system::uname();
        Self {
            release: uname.release().to_string_lossy().into_owned(),
            device: below(DEVICE_PATH).exists(),
            cmdline_lacks: kexec::lacking(&read("proc/cmdline").unwrap_or_default()),
            image_loaded,
            image: kexec::remembered(state).filter(|_| image_loaded == Some(true)),
            incoming: incoming.map(|text| text.lines().map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_seen_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("run/luod");
        let bare = Local::look(root.path(), &state);
        assert!(!bare.device && bare.image_loaded.is_none() && bare.incoming.is_none());
        assert_eq!(bare.cmdline_lacks, ["kho=on", "liveupdate=on"]);

        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("dev/liveupdate", "");
        put("proc/cmdline", "quiet kho=on liveupdate=on\n");
        put("sys/kernel/kexec_loaded", "0\n");
        put(
            "sys/kernel/debug/luo/incoming",
            "live update: 3\nsessions: 0\n",
        );
        fs::create_dir_all(&state).unwrap();
        let image = Image {
            kernel: "/boot/k".into(),
            version: None,
            initrd: None,
            cmdline: String::new(),
        };
        kexec::remember(&state, &image).unwrap();
        let seen = Local::look(root.path(), &state);
        assert!(seen.device && seen.cmdline_lacks.is_empty());
        assert_eq!((seen.image_loaded, &seen.image), (Some(false), &None));
        assert_eq!(seen.incoming.unwrap(), ["live update: 3", "sessions: 0"]);
        put("sys/kernel/kexec_loaded", "1\n");
        assert_eq!(Local::look(root.path(), &state).image, Some(image));
    }
}
