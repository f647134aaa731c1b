// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a worker knows of its sessions, written where the next kernel's check finds it: in a memfd that is preserved and mapped,
//! so that it says at the jump what was known at the jump.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use liveupdate::Error;
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags},
    process::{Pid, WaitOptions},
    time::{ClockId, clock_gettime},
};

use super::{NAMES, tolerate};

/// What is known of the session of one name: whether the next kernel may lack it, whether it may have it, and with how many files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub may_be_absent: bool,
    pub may_be_present: bool,
    pub least: u16,
    pub most: u16,
}

impl Known {
    pub(super) const ABSENT: Self = Self {
        may_be_absent: true,
        may_be_present: false,
        least: 0,
        most: 0,
    };

    /// It is there, with so many files.
    pub(super) fn present(files: u16) -> Self {
        Self {
            may_be_absent: false,
            may_be_present: true,
            least: files,
            most: files,
        }
    }

    /// Whether a session that has arrived, with so many files, or has not, is in order.
    pub(super) fn allows(self, arrived: Option<u64>) -> bool {
        match arrived {
            None => self.may_be_absent,
            Some(files) => {
                self.may_be_present && (self.least.into()..=self.most.into()).contains(&files)
            }
        }
    }

    fn to_word(self) -> u64 {
        u64::from(self.may_be_absent)
            | u64::from(self.may_be_present) << 1
            | u64::from(self.least) << 16
            | u64::from(self.most) << 32
    }

    fn from_word(word: u64) -> Self {
        Self {
            may_be_absent: word & 1 != 0,
            may_be_present: word & 2 != 0,
            least: (word >> 16) as u16,
            most: (word >> 32) as u16,
        }
    }
}

/// The memfd's only page. Each word holds by itself, whenever the processors stop.
#[repr(C)]
#[derive(Default)]
struct Page {
    /// When the last change that was made began, by the monotonic clock in nanoseconds.
    changed_ns: AtomicU64,
    /// When the first one ended that came after the hand-over; 0 until then.
    refused_ns: AtomicU64,
    /// [`Known`] of each name.
    known: [AtomicU64; NAMES as usize],
}

/// A worker's journal.
pub(super) struct Journal {
    file: OwnedFd,
    page: NonNull<Page>,
    /// Forked processes that may have our descriptors.
    children: usize,
    /// Names of sessions that we have closed, and that may still be there.
    closed: Vec<u32>,
    is_handed_over: bool,
}

impl Journal {
    /// One that knows that there is no session.
    pub(super) fn new() -> Result<Self> {
        let file = super::memfd(&[0; size_of::<Page>()])?;
        // SAFETY: a new shared mapping at an address that the kernel chooses touches nothing that exists.
        let page = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .context("cannot map the journal")?;
        let journal = Self {
            file,
            page: NonNull::new(page.cast()).context("the journal is mapped at 0")?,
            children: 0,
            closed: Vec::new(),
            is_handed_over: false,
        };
        (0..NAMES).for_each(|name| journal.note(name, Known::ABSENT));
        Ok(journal)
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is as long as a `Page`, stays for the life of the process, and is accessed by atomics only.
        unsafe { self.page.as_ref() }
    }

    pub(super) fn known(&self, name: u32) -> Known {
        Known::from_word(self.page().known[name as usize].load(Ordering::Relaxed))
    }

    pub(super) fn note(&self, name: u32, known: Known) {
        self.page().known[name as usize].store(known.to_word(), Ordering::Relaxed);
    }

    /// The session of this name, with so many files, is about to be closed.
    pub(super) fn closing(&mut self, name: u32, files: u16) {
        // After the hand-over it is the next kernel's.
        if !self.is_handed_over {
            let known = Known {
                may_be_absent: true,
                ..Known::present(files)
            };
            self.note(name, known);
            self.closed.push(name);
        }
    }

    /// Makes a session of this name anew; one that we have closed may still be there. Then it is no session of ours, but may have
    /// descriptors in other processes.
    pub(super) fn create<T>(
        &mut self,
        name: u32,
        create: impl FnOnce() -> Result<T, Error>,
    ) -> Result<Option<T>> {
        let before = self.known(name);
        let was_closed = self.closed.contains(&name);
        self.closed.retain(|closed| *closed != name);
        let tolerated: &[Errno] = match before {
            Known::ABSENT => &[],
            _ => &[Errno::EXIST],
        };
        if before.may_be_absent {
            let (may_be_present, least) = (true, 0);
            self.note(
                name,
                Known {
                    may_be_present,
                    least,
                    ..before
                },
            );
        }
        let created = self.change(tolerated, create)?;
        if created.is_some() {
            ensure!(
                before.may_be_absent,
                "session {name} was created though it is there"
            );
            self.note(name, Known::present(0));
        } else {
            self.note(name, before);
            self.closed.extend(was_closed.then_some(name));
        }
        Ok(created)
    }

    pub(super) fn forked(&mut self) {
        self.children += 1;
    }

    /// Makes a change to what is preserved. `None`: it was refused for one of these errnos, or because of the hand-over.
    pub(super) fn change<T>(
        &mut self,
        tolerated: &[Errno],
        change: impl FnOnce() -> Result<T, Error>,
    ) -> Result<Option<T>> {
        self.reap()?;
        // What we closed before and no other process has is closed for good; if this change succeeds, then before the hand-over.
        let gone = if self.children == 0 {
            self.closed.len()
        } else {
            0
        };
        let began_ns = now_ns();
        let result = change();
        if let Err(error) = &result
            && error.errno == Errno::SHUTDOWN
            && !self.is_handed_over
        {
            self.is_handed_over = true;
            self.page().refused_ns.store(now_ns(), Ordering::Relaxed);
        }
        let done = tolerate(result, tolerated)?;
        if done.is_some() {
            ensure!(
                !self.is_handed_over,
                "a change was made after the hand-over"
            );
            self.page().changed_ns.store(began_ns, Ordering::Relaxed);
            for name in self.closed.drain(..gone).collect::<Vec<_>>() {
                self.note(name, Known::ABSENT);
            }
        }
        Ok(done)
    }

    /// Counts the forked processes that have ended, and so have closed what they had.
    fn reap(&mut self) -> Result<()> {
        while self.children > 0
            && rustix::process::waitpid(None::<Pid>, WaitOptions::NOHANG)
                .context("cannot wait for children")?
                .is_some()
        {
            self.children -= 1;
        }
        Ok(())
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A journal that has arrived.
pub(super) struct Arrived {
    pub changed_ns: u64,
    /// `None`: the worker has not seen the hand-over.
    pub refused_ns: Option<u64>,
    known: Vec<Known>,
}

impl Arrived {
    pub(super) fn read(file: OwnedFd) -> Result<Self> {
        let bytes = super::read(File::from(file), size_of::<Page>())?;
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let mut word = || words.next().context("the journal is too short");
        Ok(Self {
            changed_ns: word()?,
            refused_ns: Some(word()?).filter(|ns| *ns != 0),
            known: words.map(Known::from_word).collect(),
        })
    }

    pub(super) fn known(&self, name: u32) -> Known {
        self.known
            .get(name as usize)
            .copied()
            .unwrap_or(Known::ABSENT)
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_has_to_arrive_and_what_was_under_way_may() {
        let filling = Known {
            most: 4,
            ..Known::present(3)
        };
        assert!(filling.allows(Some(3)) && filling.allows(Some(4)));
        assert!(!filling.allows(Some(2)) && !filling.allows(Some(5)) && !filling.allows(None));
        assert!(Known::ABSENT.allows(None) && !Known::ABSENT.allows(Some(0)));
    }

    #[test]
    fn a_word_says_it_all() {
        let known = Known {
            may_be_absent: true,
            may_be_present: true,
            least: 7,
            most: 70,
        };
        for known in [known, Known::ABSENT, Known::present(70)] {
            assert_eq!(Known::from_word(known.to_word()), known);
        }
    }
}
