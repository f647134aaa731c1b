// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory files in use: written, mapped, cut, executed.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use luo_guest::{
    pattern::Content,
    proto::{Failure, MemfdUse, Outcome, Pages, Reply},
};
use rustix::{
    fs::FallocateFlags,
    mm::{MapFlags, ProtFlags},
};

use super::{PAGE, PIECE, fill, set_shmem_huge};
use crate::slots::{Tried as _, other};

/// Between two numbers of [`MemfdUse::CountUp`]: they are to last until the machine leaves its kernel.
const PAUSE: Duration = Duration::from_micros(100);

pub(super) fn run(file: &File, how: MemfdUse) -> Outcome {
    match how {
        MemfdUse::Fill {
            content,
            pages,
            mapped,
        } => {
            set_shmem_huge(if pages == Pages::Huge {
                "always"
            } else {
                "never"
            })?;
            if mapped {
                fill_mapped(file, &content)?;
            } else {
                fill(file, &content, pages)?;
            }
        }
        MemfdUse::Punch { offset, length } => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(file, flags, offset, length).tried("punch a hole")?;
        }
        MemfdUse::Resize { size } => file.set_len(size).tried("set the length of a memfd")?,
        MemfdUse::Execute => return Err(execute(file)),
        MemfdUse::CountUp => count_up(&Mapping::of(file)?),
        MemfdUse::CheckCount => return check_count(file),
    }
    Ok(Reply::Done)
}

/// The whole of a file in memory, shared.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn of(file: &File) -> Result<Self, Failure> {
        let length = file.metadata().tried("stat memfd")?.len() as usize;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), length, access, flags, file, 0) }
            .tried("map memfd")?;
        let start = NonNull::new(start.cast()).ok_or_else(|| other("mapped at address 0"))?;
        Ok(Self { start, length })
    }

    /// The first word of a page.
    fn word(&self, page: usize) -> &AtomicU64 {
        let offset = page * PAGE as usize;
        assert!(offset < self.length, "page {page} is beyond the end");
        // SAFETY: the word is inside the mapping and aligned; every access to it is atomic.
        unsafe { self.start.add(offset).cast().as_ref() }
    }

    fn pages(&self) -> usize {
        self.length / PAGE as usize
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) }.ok();
    }
}

fn fill_mapped(file: &File, content: &Content) -> Result<(), Failure> {
    let mapping = Mapping::of(file)?;
    let mut buffer = vec![0; PIECE as usize];
    for &(start, length) in &content.ranges {
        for offset in (start..start + length).step_by(PIECE as usize) {
            let bytes = &mut buffer[..(start + length - offset).min(PIECE) as usize];
            content.read_at(offset, bytes);
            let (offset, count) = (offset as usize, bytes.len());
            if offset + count > mapping.length {
                return Err(other("the content is longer than the memfd"));
            }
            // SAFETY: the bytes are inside the mapping, which nobody else knows of.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), mapping.start.add(offset).as_ptr(), count);
            };
        }
    }
    Ok(())
}

/// Comes back only if that fails.
fn execute(file: &File) -> Failure {
    let nothing = [ptr::null::<libc::c_char>()];
    // SAFETY: the path and both lists end as they have to.
    let result: libc::c_long = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            nothing.as_ptr(),
            nothing.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    let error = if result < 0 {
        io::Error::last_os_error().raw_os_error()
    } else {
        None
    };
    Failure {
        errno: error.unwrap_or(0),
        message: "execute memfd".into(),
    }
}

/// Number `n` stands in page `1 + n % (pages - 1)`, and then in page 0.
fn place_of(number: u64, pages: usize) -> usize {
    1 + (number % (pages as u64 - 1)) as usize
}

fn count_up(mapping: &Mapping) -> ! {
    for number in 1.. {
        mapping
            .word(place_of(number, mapping.pages()))
            .store(number, Ordering::SeqCst);
        mapping.word(0).store(number, Ordering::SeqCst);
        thread::sleep(PAUSE);
    }
    unreachable!("nobody counts so far");
}

fn check_count(file: &File) -> Outcome {
    let pages = (file.metadata().tried("stat memfd")?.len() / PAGE) as usize;
    let word = |page: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, page as u64 * PAGE)
            .tried("read memfd")?;
        Ok::<_, Failure>(u64::from_le_bytes(bytes))
    };
    let announced = word(0)?;
    // One number more than was announced may stand in its page.
    let last = announced + u64::from(word(place_of(announced + 1, pages))? == announced + 1);
    let numbered = pages as u64 - 1;
    for number in last.saturating_sub(numbered) + 1..=last.max(numbered) {
        let (found, wanted) = (
            word(place_of(number, pages))?,
            if number <= last { number } else { 0 },
        );
        if found != wanted {
            return Err(Failure {
                errno: libc::EILSEQ,
                message: format!(
                    "{announced} was announced, but where {wanted} should be there is {found}"
                ),
            });
        }
    }
    Ok(Reply::Counted(announced))
}
