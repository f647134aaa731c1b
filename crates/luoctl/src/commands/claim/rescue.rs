// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Copies what is in a session to disk.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use liveupdate::{Incoming, Session, SessionInfo, Token};
use rustix::{
    fs::{FileType, SeekFrom, fstat, seek},
    io::Errno,
};
use serde::Serialize;

use crate::{
    exit::{Failure, Result},
    screen::{Look, lines, size},
};

/// A file that has been copied.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Saved {
    token: u64,
    path: String,
    bytes: u64,
    /// Without its holes.
    copied_bytes: u64,
}

/// Copies the files with these tokens, or all that the kernel shows, to `dir`.
pub(super) fn save(session: &Session<Incoming>, tokens: &[u64], dir: &Path) -> Result<Vec<Saved>> {
    let tokens = match tokens {
        [] => shown(session)?,
        tokens => tokens.iter().copied().map(Token).collect(),
    };
    fs::create_dir_all(dir).map_err(|err| cannot_write(dir, &err))?;
    tokens
        .into_iter()
        .map(|token| save_one(session, token, dir))
        .collect()
}

fn shown(session: &Session<Incoming>) -> Result<Vec<Token>> {
    let info = SessionInfo::of(session);
    let info =
        info.map_err(|err| Failure::failed(format!("cannot read /proc/self/fdinfo: {err}")))?;
    match info {
        Some(info) => Ok(info.files.into_iter().map(|it| it.token).collect()),
        None => Err(Failure::failed(
            "this kernel does not show which files are in a session: name them with --token N, once for each",
        )),
    }
}

fn save_one(session: &Session<Incoming>, token: Token, dir: &Path) -> Result<Saved> {
    let from = File::from(session.retrieve(token)?);
    let kind = fstat(&from).map_err(|errno| Failure::failed(format!("file {token}: {errno}")))?;
    if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
        return Err(Failure::failed(format!(
            "file {token} is no memory that could be copied: give the session to a program that knows it"
        )));
    }
    let path = dir.join(token.to_string());
    let copied_bytes = fresh(&path)
        .and_then(|to| copy(&from, &to))
        .map_err(|err| cannot_write(&path, &err))?;
    Ok(Saved {
        token: token.0,
        path: path.display().to_string(),
        bytes: u64::try_from(kind.st_size).unwrap_or_default(),
        copied_bytes,
    })
}

/// Memory is nobody else's to read, and what was rescued before is not lost to a second attempt.
fn fresh(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Copies what is there, and leaves holes where there are holes. Gives how much was there.
fn copy(from: &File, to: &File) -> io::Result<u64> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut at, mut copied) = (0, 0);
    while let Some(start) = next(from, SeekFrom::Data(at))?.filter(|it| *it < length) {
        let end = next(from, SeekFrom::Hole(start))?
            .unwrap_or(length)
            .min(length);
        at = start;
        while at < end {
            let want = usize::try_from(end - at).map_or(buffer.len(), |it| it.min(buffer.len()));
            let got = from.read_at(&mut buffer[..want], at)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to.write_all_at(&buffer[..got], at)?;
            at += got as u64;
        }
        copied += end - start;
    }
    to.sync_all()?;
    Ok(copied)
}

fn next(file: &File, place: SeekFrom) -> io::Result<Option<u64>> {
    match seek(file, place) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn cannot_write(path: &Path, err: &io::Error) -> Failure {
    let hint = match err.kind() {
        io::ErrorKind::AlreadyExists => " (rescued before? choose another folder)",
        io::ErrorKind::StorageFull => " (the session can be claimed again, with another folder)",
        _ => "",
    };
    Failure::failed(format!("cannot write {}: {err}{hint}", path.display()))
}

pub(super) fn render(saved: &Vec<Saved>, look: &Look) -> String {
    if saved.is_empty() {
        return "The session has no files.".into();
    }
    let mut table = look.table(&["token", "size", "copied", "path"]);
    for file in saved {
        table.add_row([
            Token(file.token).to_string(),
            size(file.bytes),
            size(file.copied_bytes),
            file.path.clone(),
        ]);
    }
    lines(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::unix::fs::MetadataExt as _;

    fn memory(length: u64, parts: &[(u64, &[u8])]) -> File {
        let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(length).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    #[test]
    fn everything_is_copied_and_holes_stay_holes() {
        let folder = tempfile::tempdir().unwrap();
        let page = vec![0xa5; 4096];
        let length = (64 << 20) + 100;
        let from = memory(
            length,
            &[(8192, &page), (32 << 20, b"middle"), (length - 3, b"end")],
        );
        let path = folder.path().join("0x1");
        let copied = copy(&from, &fresh(&path).unwrap()).unwrap();
        assert!((4096..8 << 20).contains(&copied), "{copied}");
        let to = File::open(&path).unwrap();
        assert_eq!(to.metadata().unwrap().len(), length);
        assert!(to.metadata().unwrap().blocks() * 512 < 8 << 20);
        let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for at in (0..length).step_by(1 << 20) {
            let got = from.read_at(&mut ours, at).unwrap();
            assert_eq!(to.read_at(&mut theirs, at).unwrap(), got);
            assert!(ours[..got] == theirs[..got], "differs behind {at}");
        }
    }

    #[test]
    fn nothing_but_holes_is_nothing_to_copy() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 1 << 40] {
            let path = folder.path().join(length.to_string());
            assert_eq!(
                copy(&memory(length, &[]), &fresh(&path).unwrap()).unwrap(),
                0
            );
            assert_eq!(fs::metadata(&path).unwrap().len(), length);
        }
    }

    #[test]
    fn what_was_rescued_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0x1");
        fs::write(&path, "precious").unwrap();
        let err = fresh(&path).unwrap_err();
        assert!(cannot_write(&path, &err).message.contains("another folder"));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
