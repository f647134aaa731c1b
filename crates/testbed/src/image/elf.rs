// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which libraries a program needs, found the way the dynamic loader finds them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use goblin::elf::Elf;

/// Where the loader looks last; Debian's, before all others.
const DEFAULT_FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// The loader and every library that `program` needs, directly or not, in a system that is unpacked below `root`.
pub(super) fn needed(root: &Path, program: &Path) -> Result<BTreeSet<PathBuf>> {
    let configured = configured_folders(&below(root, Path::new("/etc/ld.so.conf")))?;
    let mut found = BTreeSet::new();
    let mut open = vec![program.to_owned()];
    while let Some(path) = open.pop() {
        let file = below(root, &path);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let elf =
            Elf::parse(&bytes).with_context(|| format!("{} is not an ELF file", path.display()))?;
        if let Some(interpreter) = elf.interpreter {
            found.insert(PathBuf::from(interpreter));
        }
        for name in &elf.libraries {
            // What is loaded already is not looked for again; systemd's libraries rely on that.
            let is_it = |it: &PathBuf| it.file_name().is_some_and(|it| it == *name);
            if found.iter().any(is_it) {
                continue;
            }
            let library = find(root, name, &elf, &path, &configured)?;
            if found.insert(library.clone()) {
                open.push(library);
            }
        }
    }
    Ok(found)
}

/// Whether a program needs no loader.
pub(super) fn is_static(bytes: &[u8]) -> Result<bool> {
    Ok(Elf::parse(bytes)?.interpreter.is_none())
}

/// A path of a system that is unpacked below `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn find(
    root: &Path,
    name: &str,
    elf: &Elf<'_>,
    of: &Path,
    configured: &[PathBuf],
) -> Result<PathBuf> {
    let origin = of
        .parent()
        .unwrap_or(Path::new("/"))
        .to_string_lossy()
        .into_owned();
    let own = elf
        .rpaths
        .iter()
        .chain(&elf.runpaths)
        .flat_map(|paths| paths.split(':'));
    let own = own.map(|path| {
        PathBuf::from(
            path.replace("$ORIGIN", &origin)
                .replace("${ORIGIN}", &origin),
        )
    });
    let last = DEFAULT_FOLDERS.iter().map(PathBuf::from);
    for folder in own.chain(configured.iter().cloned()).chain(last) {
        let candidate = folder.join(name);
        if below(root, &candidate).is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "{} needs {name}, which is in none of the loader's folders",
        of.display()
    )
}

fn configured_folders(config: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let Ok(text) = fs::read_to_string(config) else {
        return Ok(folders);
    };
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.strip_prefix("include") {
            None => folders.push(PathBuf::from(line)),
            // Debian's only pattern is a folder's *.conf.
            Some(pattern) => {
                let folder = Path::new(pattern.trim()).parent().unwrap_or(Path::new("/"));
                let mut files: Vec<_> = fs::read_dir(folder)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| e.path())
                    .collect();
                files.sort();
                for file in files
                    .iter()
                    .filter(|file| file.extension().is_some_and(|ext| ext == "conf"))
                {
                    folders.extend(configured_folders(file)?);
                }
            }
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_the_c_library_and_a_loader() -> Result<()> {
        let needed = needed(Path::new("/"), &std::env::current_exe()?)?;
        let has = |part: &str| {
            needed
                .iter()
                .any(|path| path.to_string_lossy().contains(part))
        };
        assert!(has("libc.so.6") && has("ld-linux"), "{needed:?}");
        assert!(needed.iter().all(|path| path.is_file()), "{needed:?}");
        Ok(())
    }
}
