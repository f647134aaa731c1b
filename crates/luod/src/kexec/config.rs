// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a kernel was built with, where distributions tell: `config-RELEASE` beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::bzimage::Kernel;

/// What the next kernel has to be built with.
pub const CONFIG_REQUIRED: [&str; 2] = ["CONFIG_KEXEC_HANDOVER", "CONFIG_LIVEUPDATE"];

/// Those of [`CONFIG_REQUIRED`] that the kernel in the file `path` was built without. Nothing if its configuration is not beside it
/// nor in `/boot`.
pub fn config_lacks(path: &Path, kernel: &Kernel) -> Option<Vec<&'static str>> {
    let name = format!("config-{}", kernel.release());
    let beside = path.parent().map(|it| it.join(&name));
    let places = beside
        .into_iter()
        .chain([PathBuf::from("/boot").join(&name)]);
    let text = places.filter_map(|it| fs::read_to_string(it).ok()).next()?;
    let is_set = |option: &str| {
        let set = |line: &str| line.strip_prefix(option).is_some_and(|rest| rest == "=y");
        text.lines().any(set)
    };
    Some(
        CONFIG_REQUIRED
            .into_iter()
            .filter(|it| !is_set(it))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_where_the_distribution_leaves_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinuz-7.2.12-of-nobody");
        let kernel = Kernel {
            version: "7.2.12-of-nobody (x@y) #1".into(),
            cmdline_bytes: 2047,
        };
        assert_eq!(config_lacks(&path, &kernel), None);
        let config = folder.path().join("config-7.2.12-of-nobody");
        fs::write(
            &config,
            "CONFIG_KEXEC_HANDOVER=y\n# CONFIG_LIVEUPDATE is not set\n",
        )
        .unwrap();
        assert_eq!(
            config_lacks(&path, &kernel),
            Some(vec!["CONFIG_LIVEUPDATE"])
        );
        fs::write(&config, "CONFIG_KEXEC_HANDOVER=y\nCONFIG_LIVEUPDATE=y\n").unwrap();
        assert_eq!(config_lacks(&path, &kernel), Some(vec![]));
    }
}
