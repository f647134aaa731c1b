// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where everything that is built or kept goes: outside the checkout.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A folder of the cache, made when missing: `$LUO_CACHE`, else `$XDG_CACHE_HOME/luo`, else `~/.cache/luo`.
///
/// # Errors
/// When there is no home, or the folder cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = root()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn root() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("LUO_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("luo")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/luo")))
        .context("none of LUO_CACHE, XDG_CACHE_HOME and HOME is set; set LUO_CACHE to a folder with a few GiB free")
}
