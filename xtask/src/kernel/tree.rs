// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The working copy: a source with the overlay planted and the edits applied.
//!
//! Preparing it again changes only what has to change, so that make rebuilds only what depends on it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::digest::Digest;
use crate::kernel::config;
use crate::kernel::mirror;
use crate::kernel::overlay::Overlay;
use crate::kernel::source::{Owner, Source};
use crate::ui::Step;

/// A working copy in the cache.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its top folder.
    pub dir: PathBuf,
    ledger: PathBuf,
}

/// What differs from the source; kept beside the tree.
#[derive(Default, Deserialize, Serialize)]
struct Ledger {
    planted: HashSet<PathBuf>,
}

impl Tree {
    /// Where the working copy of a source lies.
    pub fn locate(cache: &Cache, source: &Source) -> Result<Self> {
        let home = cache.folder("trees")?.join(&source.id);
        Ok(Self {
            dir: home.join("linux"),
            ledger: home.join("planted.json"),
        })
    }

    /// Makes it agree with the source and the overlay, and returns a digest of the options that the overlay declares.
    /// The caller holds the tree's lock.
    ///
    /// # Errors
    /// An edit does not apply, or the disk is full.
    pub fn prepare(&self, cache: &Cache, source: &Source, overlay: &Overlay) -> Result<String> {
        let wanted = overlay.lay_over(&source.dir)?;
        let mut ledger = self.read_ledger()?;
        if !self.dir.is_dir() {
            let step = Step::start(format!("Copying Linux {}", source.version));
            let scratch = cache.scratch()?;
            mirror::populate(&source.dir, source.owner, scratch.path())?;
            let home = self.dir.parent().expect("the tree has a folder of its own");
            fs::create_dir_all(home)
                .with_context(|| format!("cannot create {}", home.display()))?;
            ledger = Ledger::default();
            fs::rename(scratch.keep(), &self.dir)
                .with_context(|| format!("cannot move the copy to {}", self.dir.display()))?;
            step.done("");
        } else if source.owner == Owner::User {
            let ours = ledger
                .planted
                .iter()
                .chain(wanted.keys())
                .cloned()
                .collect();
            mirror::update(&source.dir, &self.dir, &ours)?;
        }
        // Written before the files: after an interruption, what may have been planted is still known.
        let gone: Vec<PathBuf> = ledger
            .planted
            .iter()
            .filter(|p| !wanted.contains_key(*p))
            .cloned()
            .collect();
        ledger.planted.extend(wanted.keys().cloned());
        self.write_ledger(&ledger)?;
        for path in &gone {
            mirror::restore(&source.dir, &self.dir, path)?;
        }
        for (path, content) in &wanted {
            if fs::read(self.dir.join(path)).ok().as_ref() != Some(content) {
                mirror::put(&self.dir, path, content)?;
            }
        }
        let mut kconfig = Digest::new();
        for (path, content) in &wanted {
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("Kconfig"))
            {
                kconfig.add(path.as_os_str().as_encoded_bytes(), content);
            }
        }
        self.write_ledger(&Ledger {
            planted: wanted.into_keys().collect(),
        })?;
        Ok(kconfig.finish())
    }

    /// Whether the tree offers the choice between the flavors.
    pub fn has_choice(&self) -> Result<bool> {
        let path = self.dir.join("kernel/liveupdate/Kconfig");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(config::declares(&text, config::FLAVOR_RUST))
    }

    fn read_ledger(&self) -> Result<Ledger> {
        match fs::read(&self.ledger) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| damaged(&self.ledger)),
            Err(_) => Ok(Ledger::default()),
        }
    }

    fn write_ledger(&self, ledger: &Ledger) -> Result<()> {
        let home = self
            .ledger
            .parent()
            .expect("the tree has a folder of its own");
        mirror::put(
            home,
            Path::new("planted.json"),
            &serde_json::to_vec(ledger)?,
        )
    }
}

fn damaged(path: &Path) -> String {
    format!(
        "{} is damaged: remove its folder, it will be made again",
        path.display()
    )
}

#[cfg(test)]
mod tests;
