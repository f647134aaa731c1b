// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Machines that are stopped, kept, and resumed as often as one likes, each time with other bytes in their memory.
//!
//! A machine's memory is a file, so that keeping it is copying a file with holes, and a resumed machine has a private mapping
//! of it: nothing is copied but what it changes.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use luo_guest::proto::Op;

use super::{Machine, MachineConfig, Prepared, accel, config, gdb::Gdb, qmp, qmp::Qmp};

/// The parts of a folder of snapshots.
const DISK: &str = "payload";
const LIVE_MEMORY: &str = "memory";
/// Memory is copied in such pieces, where it is not zero.
const PIECE: usize = 64 << 10;

/// A machine that can be kept.
#[derive(Debug)]
pub struct Source {
    /// The machine itself.
    pub machine: Machine,
    config: MachineConfig,
    folder: PathBuf,
    qmp: Qmp,
    gdb: PathBuf,
}

/// A machine as it was at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    config: MachineConfig,
    disk: PathBuf,
    state: PathBuf,
    /// Physical memory, from address 0 on.
    pub memory: PathBuf,
}

/// Bytes to write to a physical address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where.
    pub physical: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Source {
    /// Boots a machine whose memory and snapshots are in `folder`. Its memory must be so small that it is in one piece.
    ///
    /// # Errors
    /// As for [`Machine::boot`].
    pub fn boot(config: &MachineConfig, folder: &Path) -> Result<Self> {
        let mut prepared = Prepared::new(config, &[])?;
        let disk = folder.join(DISK);
        fs::rename(&prepared.disk, &disk)
            .or_else(|_| fs::copy(&prepared.disk, &disk).map(drop))
            .with_context(|| format!("cannot make {}", disk.display()))?;
        prepared.disk = disk;
        let memory = folder.join(LIVE_MEMORY);
        let (socket, gdb) = prepared.control();
        prepared
            .command
            .args(memory_arguments(config, &memory, "on"));
        let mut machine = Machine::start(prepared, &config.log)?;
        let qmp = Qmp::connect(&socket)?;
        machine.wait_until_ready(config.boot_timeout())?;
        Ok(Self {
            machine,
            config: config.clone(),
            folder: folder.to_owned(),
            qmp,
            gdb,
        })
    }

    /// Goes into the loaded kernel, up to the instructions at virtual addresses, one after the other, and keeps the machine
    /// under a name as it is at each.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn keep_at<const N: usize>(
        &mut self,
        places: [(&str, u64); N],
        timeout: Duration,
    ) -> Result<[Snapshot; N]> {
        let mut gdb = Gdb::connect(&self.gdb)?;
        let mut kept = Vec::new();
        for (name, address) in places {
            gdb.break_at(address)?;
            let held = if kept.is_empty() {
                gdb.hold_at(address, || self.machine.send(Op::Kexec), timeout)?
            } else {
                // A machine that was saved has no disks before that.
                self.qmp.cont()?;
                gdb.hold_at(address, || Ok(()), timeout)?
            };
            self.qmp.stop()?;
            gdb.release(&held)?;
            kept.push(self.save(name)?);
        }
        self.qmp.cont()?;
        Ok(kept.try_into().expect("one for each place"))
    }

    /// Keeps the machine as it is now, and lets it run on.
    ///
    /// # Errors
    /// When there is no room for the files.
    pub fn keep(&mut self, name: &str) -> Result<Snapshot> {
        self.qmp.stop()?;
        let kept = self.save(name)?;
        self.qmp.cont()?;
        Ok(kept)
    }

    /// Keeps a machine that has stopped.
    fn save(&mut self, name: &str) -> Result<Snapshot> {
        let state = self.folder.join(format!("{name}.state"));
        let memory = self.folder.join(format!("{name}.memory"));
        self.qmp.save(&state)?;
        copy_with_holes(&self.folder.join(LIVE_MEMORY), &memory)
            .with_context(|| format!("cannot make {}", memory.display()))?;
        Ok(Snapshot {
            config: self.config.clone(),
            disk: self.folder.join(DISK),
            state,
            memory,
        })
    }
}

impl Snapshot {
    /// Starts a machine that goes on from here, with these bytes in its memory; its console goes to `log`.
    ///
    /// # Errors
    /// When QEMU cannot do it.
    pub fn resume(&self, patches: &[Patch], log: &Path) -> Result<Machine> {
        let mut prepared = Prepared::bare(&self.config, self.disk.clone())?;
        let (socket, gdb) = prepared.control();
        prepared
            .command
            .args(memory_arguments(&self.config, &self.memory, "off"))
            .args(qmp::INCOMING);
        let machine = Machine::start(prepared, log)?;
        let mut qmp = Qmp::connect(&socket)?;
        qmp.load(&self.state)?;
        if !patches.is_empty() {
            let mut gdb = Gdb::connect(&gdb)?;
            for Patch { physical, bytes } in patches {
                gdb.write(*physical, bytes)?;
            }
        }
        qmp.cont()?;
        Ok(machine)
    }
}

impl Prepared {
    /// For a machine that gets its kernel from a snapshot.
    fn bare(config: &MachineConfig, disk: PathBuf) -> Result<Self> {
        let image = &config.kernel(&config.first)?.image;
        let mut command = Command::new(config::QEMU);
        command
            .args(config.machine_arguments(accel::best(image)?))
            .args(config::network_arguments(&[]));
        Ok(Self {
            files: super::temporary()?,
            disk,
            ports: Vec::new(),
            command,
        })
    }
}

fn memory_arguments(config: &MachineConfig, file: &Path, share: &str) -> [String; 4] {
    let size = config.memory_mib;
    let path = file.display();
    let backend = format!("memory-backend-file,id=ram,size={size}M,mem-path={path},share={share}");
    [
        "-object".into(),
        backend,
        "-machine".into(),
        "memory-backend=ram".into(),
    ]
}

fn copy_with_holes(from: &Path, to: &Path) -> std::io::Result<()> {
    let (from, to) = (File::open(from)?, File::create(to)?);
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let (mut piece, zeros) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < length {
        let read = from.read_at(&mut piece, at)?;
        if piece[..read] != zeros[..read] {
            to.write_all_at(&piece[..read], at)?;
        }
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        let file = File::create(&from).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"here", (4 << 20) + 77).unwrap();
        copy_with_holes(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&to).unwrap());
        assert!(blocks * 512 <= 2 * PIECE as u64, "{blocks} blocks");
    }
}
