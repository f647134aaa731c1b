// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Files in memory for programs that know nothing of updates.
//!
//! Such a file is a memfd. Its path is a link to a descriptor of a [holder](crate::vault::holder) that runs as the file's
//! owner, since Linux lets only a process of the same user open that. Small ordinary files beside the link go with it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use sha2::{Digest as _, Sha256};

use crate::{protocol::Id, vault::holder::Holder};

/// The link's name in the file's folder.
const LINK: &str = "memory";
/// What the files beside one may have together.
pub const MAX_BESIDE_BYTES: u64 = 16 << 20;

/// The files, and who holds them.
#[derive(Debug)]
pub struct Keeper {
    state: PathBuf,
    holders: BTreeMap<u32, Holder>,
    files: BTreeMap<Id, Kept>,
}

#[derive(Debug)]
struct Kept {
    uid: u32,
    file: File,
}

/// A new, empty file in memory.
///
/// # Errors
/// `ENOMEM`, `EMFILE`.
pub fn memory(name: &str, bytes: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.set_len(bytes)?;
    Ok(file)
}

/// Its content's checksum, in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn checksum(mut file: &File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

impl Keeper {
    /// Nothing is kept yet.
    pub fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            holders: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &Id) -> PathBuf {
        self.folder(name).join(LINK)
    }

    fn folder(&self, name: &Id) -> PathBuf {
        self.state.join("keep").join(name.as_str())
    }

    /// Shows `file` at its path, which may exist: an agent that starts again shows it anew.
    ///
    /// # Errors
    /// The folder cannot be made, or nobody holds the file. Nothing is shown then.
    pub fn show(&mut self, name: &Id, uid: u32, file: OwnedFd) -> io::Result<PathBuf> {
        let folder = self.folder(name);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let gid = primary_group(uid);
        chown(&folder, Some(uid), Some(gid))?;
        rustix::fs::fchown(
            &file,
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
        )?;
        let target = match self.holder(uid)?.hold(name.as_str(), file.as_fd()) {
            Ok(target) => target,
            // The holder has died since: there will be another.
            Err(_) => {
                self.holders.remove(&uid);
                self.holder(uid)?.hold(name.as_str(), file.as_fd())?
            }
        };
        let (link, new) = (folder.join(LINK), self.state.join("keep").join(".new"));
        fs::remove_file(&new).or_else(|err| match err.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(err),
        })?;
        symlink(target, &new)?;
        fs::rename(&new, &link)?;
        self.files.insert(
            name.clone(),
            Kept {
                uid,
                file: file.into(),
            },
        );
        Ok(link)
    }

    /// Gives a file up, with everything beside it.
    ///
    /// # Errors
    /// Something of it is still there.
    pub fn remove(&mut self, name: &Id) -> io::Result<()> {
        if let Some(kept) = self.files.remove(name) {
            self.holder(kept.uid)?.release(name.as_str())?;
        }
        match fs::remove_dir_all(self.folder(name)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// The file itself.
    pub fn file(&self, name: &Id) -> Option<&File> {
        self.files.get(name).map(|it| &it.file)
    }

    /// The files beside it, in a file in memory.
    ///
    /// # Errors
    /// One cannot be read, or together they have more than [`MAX_BESIDE_BYTES`].
    pub fn pack(&self, name: &Id) -> io::Result<File> {
        let mut archive = tar::Builder::new(memory("beside", 0)?);
        let mut bytes = 0;
        for entry in beside(&self.folder(name))? {
            let path = entry.path();
            // Whoever owns the folder could put a link there meanwhile.
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let flags = i32::try_from(flags.bits()).expect("flags are small");
            let mut file = fs::OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                continue;
            }
            bytes += metadata.len();
            if bytes > MAX_BESIDE_BYTES {
                let folder = self.folder(name);
                return Err(io::Error::other(format!(
                    "the files in {} have more than {} MiB together; move what is not needed",
                    folder.display(),
                    MAX_BESIDE_BYTES >> 20,
                )));
            }
            archive.append_file(entry.file_name(), &mut file)?;
        }
        archive.into_inner()
    }

    /// The reverse of [`Self::pack`].
    ///
    /// # Errors
    /// It is no archive, or a file cannot be written.
    pub fn unpack(&self, name: &Id, mut packed: &File) -> io::Result<()> {
        packed.rewind()?;
        let folder = self.folder(name);
        for entry in tar::Archive::new(packed).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let is_plain = path.parent().is_some_and(|it| it.as_os_str().is_empty());
            if !is_plain || !entry.header().entry_type().is_file() {
                return Err(io::Error::other(format!(
                    "{} is no plain file",
                    path.display()
                )));
            }
            let (uid, gid) = (entry.header().uid()?, entry.header().gid()?);
            let small = |it: u64| u32::try_from(it).map_err(io::Error::other);
            let (uid, gid) = (small(uid)?, small(gid)?);
            let to = folder.join(path);
            entry.unpack(&to)?;
            chown(&to, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn holder(&mut self, uid: u32) -> io::Result<&mut Holder> {
        use std::collections::btree_map::Entry;
        match self.holders.entry(uid) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Holder::connect(&self.state, Some(uid))?)),
        }
    }

    /// How large a file is, and how much memory it takes.
    pub fn sizes(&self, name: &Id) -> Option<(u64, u64)> {
        let metadata = self.file(name)?.metadata().ok()?;
        Some((metadata.len(), metadata.blocks() * 512))
    }
}

fn primary_group(uid: u32) -> u32 {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok().flatten().map_or(uid, |it| it.gid.as_raw())
}

fn beside(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            entries.push(entry);
        }
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn keeper(dir: &Path, name: &Id) -> Keeper {
        let keeper = Keeper::new(dir);
        fs::create_dir_all(keeper.folder(name)).unwrap();
        keeper
    }

    #[test]
    fn files_beside_come_back_as_they_were() {
        let (dir, name) = (tempfile::tempdir().unwrap(), Id::new("cache").unwrap());
        let keeper = keeper(dir.path(), &name);
        let folder = keeper.folder(&name);
        fs::write(folder.join("memory.meta"), "notes").unwrap();
        fs::set_permissions(
            folder.join("memory.meta"),
            fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        symlink("/etc/shadow", folder.join("link")).unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        let packed = keeper.pack(&name).unwrap();

        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        keeper.unpack(&name, &packed).unwrap();
        assert_eq!(
            fs::read_to_string(folder.join("memory.meta")).unwrap(),
            "notes"
        );
        let mode = fs::metadata(folder.join("memory.meta"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "links and folders stay behind"
        );
    }

    #[test]
    fn what_is_too_large_for_beside_is_said() {
        let (dir, name) = (tempfile::tempdir().unwrap(), Id::new("cache").unwrap());
        let keeper = keeper(dir.path(), &name);
        let large = File::create(keeper.folder(&name).join("large")).unwrap();
        large.set_len(MAX_BESIDE_BYTES + 1).unwrap();
        let message = keeper.pack(&name).unwrap_err().to_string();
        assert!(message.contains("16 MiB"), "{message}");
    }

    #[test]
    fn an_archive_cannot_write_elsewhere() {
        let (dir, name) = (tempfile::tempdir().unwrap(), Id::new("cache").unwrap());
        let keeper = keeper(dir.path(), &name);
        let mut archive = tar::Builder::new(memory("hostile", 0).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.as_gnu_mut().unwrap().name[..6].copy_from_slice(b"../bad");
        header.set_cksum();
        archive.append(&header, io::empty()).unwrap();
        let packed = archive.into_inner().unwrap();
        keeper.unpack(&name, &packed).unwrap_err();
        assert!(!dir.path().join("keep/bad").exists());
    }

    #[test]
    fn a_checksum_is_of_the_whole_content() {
        let mut file = memory("x", 0).unwrap();
        file.write_all(b"abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(checksum(&file).unwrap(), sum);
        file.write_all(b"d").unwrap();
        assert_ne!(checksum(&file).unwrap(), sum);
    }
}
