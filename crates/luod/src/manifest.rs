// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the agent tells its successor: in the next kernel by a memfd in its own session, in this one by a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use liveupdate::Token;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{clock::Moment, protocol::Id};

/// The session that carries the manifest and the kept files.
pub const SESSION: &str = "luod";
/// The manifest's key in it.
pub const TOKEN: Token = Token(0);
/// Only this is understood.
pub const FORMAT: &str = "luod-1";

/// From an agent to the one in the next kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The agent that wrote it.
    pub agent: String,
    /// The kernel that was left, as `uname -r` gives it.
    pub from: String,
    /// Who owns what.
    pub sessions: BTreeMap<Id, Carried>,
    /// Files that the agent keeps.
    pub kept: BTreeMap<Id, KeptFile>,
    /// The update so far.
    pub moments: Departure,
}

/// A client's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Its owner, the only user who gets it.
    pub uid: u32,
    /// What is in it, if the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<CarriedFile>>,
}

/// A file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedFile {
    /// Its key.
    pub token: u64,
    /// The kernel's name for how it is carried over.
    pub handler: String,
    /// Its size, if the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its owner.
    pub uid: u32,
    /// Whether its content is compared with a checksum after an update.
    pub checksum: bool,
    /// Its key; that of the files beside it is the next one.
    pub token: u64,
    /// Of the content, in hexadecimal, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// When what happened in the old kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The agent started; far from the others, to measure the counter by.
    pub agent_started: Moment,
    /// The update was asked for.
    pub asked: Moment,
    /// The last client was ready.
    pub ready: Moment,
    /// The agent called reboot(2), as near as it can tell beforehand.
    pub left: Moment,
}

/// What came from the previous kernel, and what is known of this one; goes to an agent that starts again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Sessions that their owners have not finished.
    pub incoming: BTreeMap<Id, Arrived>,
    /// Files that the agent keeps.
    pub kept: BTreeMap<Id, KeptFile>,
    /// Ids that take part in updates and have not said that they no longer do, with their owners.
    pub known: BTreeMap<Id, u32>,
    /// How this kernel was entered; nothing if by a cold boot.
    pub arrival: Option<Arrival>,
    /// What went wrong with kept files on the way.
    #[serde(default)]
    pub complaints: BTreeSet<String>,
}

/// A session that came from the previous kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Whose it is, and what is in it.
    #[serde(flatten)]
    pub carried: Carried,
    /// Why it cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// The update that led into this kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// The kernel that was left.
    pub from: String,
    /// What happened there.
    pub departure: Departure,
    /// The agent started.
    pub agent_started: Moment,
    /// Kept files are there again, and clients can claim.
    pub restored: Moment,
    /// The last session was claimed.
    pub claimed: Option<Moment>,
}

impl Manifest {
    /// Writes it to a file in memory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, mut to: &File) -> io::Result<()> {
        to.set_len(0)?;
        to.rewind()?;
        Ok(serde_json::to_writer_pretty(&mut to, self)?)
    }

    /// Reads what another agent wrote.
    ///
    /// # Errors
    /// It is no manifest, or one of another format.
    pub fn read(mut from: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        from.rewind()?;
        from.read_to_end(&mut text)?;
        let manifest: Self = serde_json::from_slice(&text)?;
        if manifest.format != FORMAT {
            let message = format!("the format is {:?}, not {FORMAT:?}", manifest.format);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(manifest)
    }
}

/// Reads JSON; none if there is no such file.
///
/// # Errors
/// It cannot be read, or is something else.
pub fn load<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// Writes JSON for root, at once or not at all.
///
/// # Errors
/// The old file is still there.
pub fn store(path: &Path, what: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(what)?)?;
    fs::rename(new, path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn departure() -> Departure {
        let now = Moment::now();
        Departure {
            agent_started: now,
            asked: now,
            ready: now,
            left: now,
        }
    }

    #[test]
    fn a_manifest_of_another_format_is_not_guessed_at() {
        let mut manifest = Manifest {
            format: FORMAT.into(),
            agent: "luod 0".into(),
            from: "7.2".into(),
            sessions: BTreeMap::new(),
            kept: BTreeMap::new(),
            moments: departure(),
        };
        let file = tempfile::tempfile().unwrap();
        manifest.write(&file).unwrap();
        assert_eq!(Manifest::read(&file).unwrap(), manifest);
        manifest.format = "luod-2".into();
        manifest.write(&file).unwrap();
        assert!(
            Manifest::read(&file)
                .unwrap_err()
                .to_string()
                .contains("luod-2")
        );
    }

    #[test]
    fn a_ledger_is_there_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        assert_eq!(load::<Ledger>(&path).unwrap(), None);
        let mut ledger = Ledger::default();
        ledger.known.insert(Id::new("a").unwrap(), 7);
        store(&path, &ledger).unwrap();
        fs::write(path.with_extension("new"), "{ half").unwrap();
        assert_eq!(load::<Ledger>(&path).unwrap(), Some(ledger));
    }
}
