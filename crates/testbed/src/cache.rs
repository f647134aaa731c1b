// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where everything that is built or kept goes: outside the checkout.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A folder of the cache, made when missing: `$LUO_CACHE`, else `$XDG_CACHE_HOME/luo`, else `~/.cache/luo`.
///
/// # Errors
/// When there is no home, or the folder cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = root()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The folder of the cache: see [`folder`].
///
/// # Errors
/// When there is no home, or the variable that counts is a relative path.
pub fn root() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let root = set("LUO_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("luo")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/luo")))
        .context("no place for the cache: set LUO_CACHE to a folder with enough space")?;
    ensure!(
        root.is_absolute(),
        "the cache must be an absolute path, but it is {}: set LUO_CACHE",
        root.display()
    );
    Ok(root)
}
