// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Files that luod keeps, used as memcached uses its own: by a program that knows nothing of updates, which writes its notes into
//! a small file beside it.

use anyhow::{Context as _, Result};

use super::{host::Host, services::owner};

const SIZE: &str = "4M";
/// The guest's pattern takes a few bytes more than it is asked for.
const BYTES: &str = "bytes=4194299";

/// A file of a user's, at the path that `luoctl keep add` has printed.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    uid: String,
    path: String,
}

impl Kept {
    pub(super) fn add(host: &mut Host<'_, '_>, name: &str) -> Result<Self> {
        let uid = owner(name).to_string();
        let add = ["luoctl", "keep", "add", name, "--size", SIZE];
        let said = host.succeed(&[&["/init", "as", &uid], &add[..]].concat())?;
        let path = said.lines().find(|line| line.starts_with('/'));
        let path = path.with_context(|| format!("no path: {said}"))?.to_owned();
        Ok(Self { uid, path })
    }

    /// Fills it with what belongs to a generation.
    pub(super) fn write(&self, host: &mut Host<'_, '_>, generation: u32) -> Result<()> {
        self.run(host, &format!("write={generation}"))
    }

    /// Every byte, and the notes.
    pub(super) fn check(&self, host: &mut Host<'_, '_>, generation: u32) -> Result<()> {
        self.run(host, &format!("check={generation}"))
    }

    fn run(&self, host: &mut Host<'_, '_>, word: &str) -> Result<()> {
        let argv = ["/init", "as", &self.uid, "/init", "kept", &self.path, BYTES];
        host.succeed(&[&argv[..], &[word]].concat()).map(drop)
    }
}
