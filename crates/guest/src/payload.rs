// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The payload disk: kernels and initial ramdisks for the machine to kexec into, so that a chain of any length needs no image
//! nested in another.
//!
//! The first block holds the directory as JSON, padded with zeros; each entry starts on a block boundary.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
};

use serde::{Deserialize, Serialize};

/// Where the disk appears in the guest.
pub const DEVICE: &str = "/dev/vda";

const BLOCK: u64 = 4096;

/// What lies where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// In the order of the disk.
    pub entries: Vec<Entry>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What requests call it.
    pub name: String,
    /// In bytes from the start of the disk.
    pub offset: u64,
    /// In bytes.
    pub len: u64,
}

/// Writes a disk with the named images.
///
/// # Errors
/// Those of writing; `InvalidInput` when there are more images than the directory can list.
pub fn write(disk: &mut File, images: &[(String, Vec<u8>)]) -> io::Result<()> {
    let mut directory = Directory::default();
    let mut offset = BLOCK;
    for (name, bytes) in images {
        directory.entries.push(Entry {
            name: name.clone(),
            offset,
            len: bytes.len() as u64,
        });
        offset += (bytes.len() as u64).next_multiple_of(BLOCK);
    }
    let mut block = serde_json::to_vec(&directory)?;
    if block.len() as u64 > BLOCK {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many images for a payload disk",
        ));
    }
    block.resize(BLOCK as usize, 0);
    disk.write_all(&block)?;
    for ((_, bytes), entry) in images.iter().zip(&directory.entries) {
        disk.write_all_at(bytes, entry.offset)?;
    }
    disk.set_len(offset)
}

impl Directory {
    /// Reads the directory of a disk.
    ///
    /// # Errors
    /// Those of reading; `InvalidData` when it is not a payload disk.
    pub fn read(disk: &File) -> io::Result<Self> {
        let mut block = vec![0; BLOCK as usize];
        disk.read_exact_at(&mut block, 0)?;
        let end = block
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(block.len());
        serde_json::from_slice(&block[..end])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads one image.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; those of reading.
    pub fn image(&self, disk: &File, name: &str) -> io::Result<Vec<u8>> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self
                    .entries
                    .iter()
                    .map(|entry| entry.name.as_str())
                    .collect();
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!(
                        "no image \"{name}\" on the payload disk; there are: {}",
                        names.join(", ")
                    ),
                )
            })?;
        let mut bytes = vec![0; entry.len as usize];
        disk.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_back_as_written() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("luo-payload-{}", std::process::id()));
        let mut disk = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        let images = [
            ("a".to_owned(), vec![1; 5000]),
            ("b".to_owned(), vec![]),
            ("c".to_owned(), vec![3; 4096]),
        ];
        write(&mut disk, &images)?;
        assert_eq!(disk.metadata()?.len() % 512, 0, "a disk has whole sectors");
        let directory = Directory::read(&disk)?;
        for (name, bytes) in &images {
            assert_eq!(&directory.image(&disk, name)?, bytes);
        }
        assert_eq!(
            directory.image(&disk, "d").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        Ok(())
    }
}
