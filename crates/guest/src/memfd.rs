// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory files with contents that verify themselves.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    },
};

use luo_guest::{
    pattern::Content,
    proto::{Failure, MemfdSpec, Op, Outcome, Pages, Reply, survey::Difference},
};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::{
    slots::{Slots, Tried as _, other},
    system,
};

mod used;

/// Reads and writes go in pieces of this many bytes.
const PIECE: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Whether the kernel backs memfds with 2 MiB pages; read when a page is allocated.
const SHMEM_HUGE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
/// How many 2 MiB hugetlbfs pages there are.
const HUGETLB_POOL: &str = "/proc/sys/vm/nr_hugepages";

pub(crate) fn run(slots: &mut Slots, op: Op) -> Outcome {
    match op {
        Op::MemfdCreate { slot, spec } => {
            slots.put(&slot, create(&spec)?.into());
            Ok(Reply::Done)
        }
        Op::MemfdVerify { slot, spec } => verify_fd(slots.get(&slot)?, &spec),
        Op::MemfdSeal { slot, seals } => {
            let seals = SealFlags::from_bits_retain(seals);
            rustix::fs::fcntl_add_seals(slots.get(&slot)?, seals).tried(format!("seal {slot}"))?;
            Ok(Reply::Done)
        }
        Op::UseMemfd { slot, how } => used::run(&borrow(slots, &slot)?, how),
        Op::MemfdFromFile { slot, path } => {
            let bytes = fs::read(&path).tried(format!("read {path}"))?;
            let file = new_memfd(MemfdFlags::ALLOW_SEALING)?;
            file.write_all_at(&bytes, 0).tried("write memfd")?;
            slots.put(&slot, file.into());
            Ok(Reply::Done)
        }
        Op::MemfdToFile { slot, path } => {
            let mut file = borrow(slots, &slot)?;
            file.rewind().tried("rewind memfd")?;
            let mut to = File::create(&path).tried(format!("create {path}"))?;
            io::copy(&mut file, &mut to).tried(format!("copy memfd {slot} to {path}"))?;
            Ok(Reply::Done)
        }
        op => Err(other(format!("not about memory files: {op:?}"))),
    }
}

fn borrow(slots: &Slots, slot: &str) -> Result<File, Failure> {
    rustix::io::fcntl_dupfd_cloexec(slots.get(slot)?, 3)
        .map(File::from)
        .tried("dup")
}

pub(crate) fn new_memfd(flags: MemfdFlags) -> Result<File, Failure> {
    let fd: OwnedFd =
        rustix::fs::memfd_create("luo-test", flags | MemfdFlags::CLOEXEC).tried("memfd_create")?;
    Ok(File::from(fd))
}

pub(crate) fn create(spec: &MemfdSpec) -> Result<File, Failure> {
    let mut flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::from_bits_retain(spec.flags);
    match spec.pages {
        Pages::Small | Pages::Scattered | Pages::Fragmented => set_shmem_huge("never")?,
        Pages::Huge => set_shmem_huge("always")?,
        Pages::HugeTlb => {
            let count = spec.content.size.div_ceil(2 << 20);
            fs::write(HUGETLB_POOL, count.to_string()).tried(HUGETLB_POOL)?;
            flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        }
    }
    let mut file = new_memfd(flags)?;
    file.set_len(spec.content.size)
        .tried("set the length of a memfd")?;
    // hugetlbfs has no write(2); its test needs no content.
    if spec.pages != Pages::HugeTlb {
        let before = shmem_huge_kib()?;
        fill(&file, &spec.content, spec.pages)?;
        if spec.pages == Pages::Huge && shmem_huge_kib()? == before {
            return Err(other("the kernel gave the memfd no huge page"));
        }
    }
    file.seek(SeekFrom::Start(spec.position)).tried("seek")?;
    if spec.seals != 0 {
        rustix::fs::fcntl_add_seals(&file, SealFlags::from_bits_retain(spec.seals))
            .tried("seal")?;
    }
    Ok(file)
}

/// Only memfds made for the purpose get huge pages, or measurements and accounts would depend on the order of tests.
fn set_shmem_huge(mode: &str) -> Result<(), Failure> {
    match fs::write(SHMEM_HUGE, mode) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && mode == "never" => Ok(()),
        done => done.tried(SHMEM_HUGE),
    }
}

fn shmem_huge_kib() -> Result<u64, Failure> {
    let info = fs::read_to_string("/proc/meminfo").tried("read /proc/meminfo")?;
    Ok(system::parse_meminfo(&info)
        .get("ShmemHugePages")
        .copied()
        .unwrap_or_default())
}

pub(crate) fn fill(file: &File, content: &Content, pages: Pages) -> Result<(), Failure> {
    let nothing = |_| Ok(());
    match pages {
        Pages::Scattered => {
            // The kernel hands out pages in order: every other one first.
            fill_each(file, content, PAGE, (0, 2), nothing)?;
            fill_each(file, content, PAGE, (1, 2), nothing)
        }
        Pages::Fragmented => {
            // Another file takes every other page that the kernel hands out.
            let between = new_memfd(MemfdFlags::empty())?;
            fill_each(file, content, PAGE, (0, 1), |offset| {
                between.write_all_at(&[1], offset).tried("write memfd")
            })
        }
        _ => fill_each(file, content, PIECE, (0, 1), nothing),
    }
}

/// Writes every `stride`th piece of the ranges, from the piece `first` on, and does something after each.
fn fill_each(
    file: &File,
    content: &Content,
    piece: u64,
    (first, stride): (u64, usize),
    after: impl Fn(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut buffer = vec![0; piece as usize];
    for &(start, length) in &content.ranges {
        for offset in (start + first * piece..start + length).step_by(stride * piece as usize) {
            let bytes = &mut buffer[..(start + length - offset).min(piece) as usize];
            content.read_at(offset, bytes);
            file.write_all_at(bytes, offset).tried("write memfd")?;
            after(offset)?;
        }
    }
    Ok(())
}

pub(crate) fn verify_fd(fd: impl AsFd, spec: &MemfdSpec) -> Outcome {
    let file = rustix::io::fcntl_dupfd_cloexec(fd, 3).tried("dup")?;
    verify(&File::from(file), spec)
}

fn verify(file: &File, spec: &MemfdSpec) -> Outcome {
    if let Some(Difference {
        what,
        found,
        wanted,
    }) = difference(file, spec)?
    {
        return Err(Failure {
            errno: libc::EILSEQ,
            message: format!("{what} of the memfd is {found:#x}, should be {wanted:#x}"),
        });
    }
    let metadata = file.metadata().tried("stat memfd")?;
    Ok(Reply::Verified {
        bytes: metadata.len(),
        allocated_bytes: metadata.blocks() * 512,
    })
}

/// The first property, or the first byte, in which a memfd is not what it should be.
pub(crate) fn difference(file: &File, spec: &MemfdSpec) -> Result<Option<Difference>, Failure> {
    let metadata = file.metadata().tried("stat memfd")?;
    let seals = rustix::fs::fcntl_get_seals(file).tried("get seals")?;
    let position = { file }.stream_position().tried("tell")?;
    let mode = metadata.permissions().mode() & 0o777;
    let wanted_mode = if spec.flags & libc::MFD_NOEXEC_SEAL == 0 {
        0o777
    } else {
        0o666
    };
    let properties = [
        ("length", metadata.len(), spec.content.size),
        ("mode", mode.into(), wanted_mode),
        ("seals", seals.bits().into(), spec.seals.into()),
        ("position", position, spec.position),
    ];
    for (what, found, wanted) in properties {
        if found != wanted {
            return Ok(Some(Difference::new(what, found, wanted)));
        }
    }
    let most = spec.content.size.min(PIECE) as usize;
    let (mut found, mut wanted) = (vec![0; most], vec![0; most]);
    let mut offset = 0;
    // The file's own position stays.
    let own =
        File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).tried("open memfd again")?;
    loop {
        offset = next_data(&own, &spec.content, offset)?;
        if offset >= spec.content.size {
            break;
        }
        let length = (spec.content.size - offset).min(PIECE) as usize;
        own.read_exact_at(&mut found[..length], offset)
            .tried("read memfd")?;
        spec.content.read_at(offset, &mut wanted[..length]);
        // Gigabytes are compared in an emulated machine: byte by byte only where there is a difference.
        let differs = found[..length] != wanted[..length];
        if let Some(at) = (0..length).find(|i| differs && found[*i] != wanted[*i]) {
            let what = format!("byte {}", offset + at as u64);
            let (found, wanted) = (found[at].into(), wanted[at].into());
            return Ok(Some(Difference::new(what, found, wanted)));
        }
        offset += length as u64;
    }
    Ok(None)
}

/// Where something stands, or should, at or behind `offset`: terabytes of holes on both sides are passed over.
fn next_data(file: &File, content: &Content, offset: u64) -> Result<u64, Failure> {
    let found = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Err(rustix::io::Errno::NXIO) => content.size,
        found => found.tried("seek data")?,
    };
    let wanted = content.ranges.iter();
    let wanted = wanted.filter(|(start, length)| start + length > offset);
    let wanted = wanted.map(|(start, _)| offset.max(*start)).min();
    Ok(found.min(wanted.unwrap_or(content.size)))
}
