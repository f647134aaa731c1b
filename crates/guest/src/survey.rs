// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Preserves everything on a list; fetches it in the next kernel, compares it with what it should be, finishes it, compares
//! again.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use liveupdate::uapi;
use luo_guest::{
    pattern::Content,
    proto::{
        Failure, MemfdSpec, Outcome, Pages, Reply,
        survey::{Deviation, Difference, Held, Sought, Survey},
    },
};
use rustix::fs::{Mode, OFlags};

use crate::{
    luo, memfd,
    slots::{Slots, Tried as _, other},
};

/// Borrows the object of the test handler's FLB and gives it back.
const HOLD_FLB: &str = "/sys/kernel/debug/luo_probe/hold_incoming";
/// Makes files of the test handler.
const PROBE: &str = "/dev/luo_probe";
/// Such a file, as `/proc` names it.
const PROBE_LINK: &str = "anon_inode:[luo_probe]";
/// In [`Difference::what`]: the file is of another handler's kind.
const KIND: &str = "kind";
/// Memory that is taken and written after everything is finished: what was freed by mistake is overwritten then.
const CHURN_BYTES: u64 = 2 << 20;
/// Time for what the kernel frees later.
const SETTLE: Duration = Duration::from_millis(20);

/// A session or a file that the kernel gave.
struct Fetched<'a> {
    session: usize,
    token: u64,
    held: &'a Held,
    file: File,
}

/// Makes every file and preserves it, and keeps the sessions open.
pub(crate) fn preserve_all(slots: &mut Slots, list: &str) -> Outcome {
    let device = open_device().tried("open the device")?;
    for Sought { name, files } in read(list)? {
        let session = luo::session(device.as_raw_fd(), uapi::CREATE_SESSION, &name)?;
        for (token, held) in files {
            luo::preserve(session.as_raw_fd(), token, make(&held)?.as_raw_fd())?;
        }
        slots.put(&name, session);
    }
    Ok(Reply::Done)
}

fn make(held: &Held) -> Result<File, Failure> {
    match held {
        Held::Page(seed) => memfd::create(&spec(*seed, 4096)),
        Held::Memfd(spec) => memfd::create(spec),
        Held::Probe(value) => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let file = rustix::fs::open(PROBE, flags, Mode::empty()).tried(PROBE)?;
            rustix::io::write(&file, &value.to_le_bytes()).tried(PROBE)?;
            Ok(file.into())
        }
    }
}

fn read(list: &str) -> Result<Vec<Sought>, Failure> {
    let bytes = fs::read(list).tried(list)?;
    serde_json::from_slice(&bytes).map_err(|error| other(format!("{list}: {error}")))
}

fn open_device() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(liveupdate::DEVICE_PATH, flags, Mode::empty())
}

pub(crate) fn run(list: &str) -> Outcome {
    let sought = read(list)?;
    let mut deviations = Vec::new();
    if let Err(failure) = fs::write(HOLD_FLB, "1")
        .and_then(|()| fs::write(HOLD_FLB, "0"))
        .tried("borrow the FLB")
    {
        deviations.push(Deviation::Flb {
            errno: failure.errno,
        });
    }
    match open_device() {
        Ok(device) => fetch_all(&device, &sought, &mut deviations)?,
        Err(error) => deviations.push(Deviation::Device {
            errno: error.raw_os_error(),
        }),
    }
    Ok(Reply::Survey(Survey { deviations }))
}

fn fetch_all(
    device: &OwnedFd,
    sought: &[Sought],
    deviations: &mut Vec<Deviation>,
) -> Result<(), Failure> {
    let mut sessions = Vec::new();
    let mut files = Vec::new();
    for (
        number,
        Sought {
            name,
            files: wanted,
        },
    ) in sought.iter().enumerate()
    {
        match luo::session(device.as_raw_fd(), uapi::RETRIEVE_SESSION, name) {
            Ok(fd) => {
                fetch_files(&fd, number, wanted, &mut files, deviations)?;
                sessions.push((number, fd));
            }
            Err(Failure { errno, .. }) => deviations.push(Deviation::Session {
                session: number,
                errno,
            }),
        }
    }
    for (session, fd) in sessions {
        if let Err(Failure { errno, .. }) = luo::finish(fd.as_raw_fd()) {
            deviations.push(Deviation::Finish { session, errno });
        }
    }
    if let Err(failure) = start_over(device) {
        deviations.push(Deviation::Outgoing {
            errno: failure.errno,
            message: failure.message,
        });
    }
    thread::sleep(SETTLE);
    for fetched in files {
        if let Some(difference) = compare(&fetched.file, fetched.held)? {
            deviations.push(Deviation::Changed {
                session: fetched.session,
                token: fetched.token,
                difference,
            });
        }
    }
    Ok(())
}

/// Keeps the files that are as they should be.
fn fetch_files<'a>(
    fd: &OwnedFd,
    session: usize,
    wanted: &'a [(u64, Held)],
    files: &mut Vec<Fetched<'a>>,
    deviations: &mut Vec<Deviation>,
) -> Result<(), Failure> {
    for &(token, ref held) in wanted {
        let file = match luo::retrieve(fd.as_raw_fd(), token) {
            Ok(file) => File::from(file),
            Err(Failure { errno, .. }) => {
                deviations.push(Deviation::File {
                    session,
                    token,
                    errno,
                });
                continue;
            }
        };
        match compare(&file, held)? {
            Some(difference) => deviations.push(Deviation::Differs {
                session,
                token,
                difference,
            }),
            None => files.push(Fetched {
                session,
                token,
                held,
                file,
            }),
        }
    }
    Ok(())
}

/// A session for the next kernel, with a memfd that takes much of the free memory's beginning.
fn start_over(device: &OwnedFd) -> Result<(), Failure> {
    let file = memfd::create(&spec(u64::MAX, CHURN_BYTES))?;
    let session = luo::session(device.as_raw_fd(), uapi::CREATE_SESSION, "after the survey")?;
    luo::preserve(session.as_raw_fd(), 0, file.as_raw_fd())
}

fn compare(file: &File, held: &Held) -> Result<Option<Difference>, Failure> {
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).tried("read link")?;
    let (is_probe, should_be) = (
        link.as_os_str() == PROBE_LINK,
        matches!(held, Held::Probe(_)),
    );
    if is_probe != should_be {
        let (found, wanted) = (is_probe.into(), should_be.into());
        return Ok(Some(Difference::new(KIND, found, wanted)));
    }
    let compared = match held {
        Held::Page(seed) => memfd::difference(file, &spec(*seed, 4096)),
        Held::Memfd(spec) => memfd::difference(file, spec),
        Held::Probe(wanted) => value(file)
            .map(|found| (found != *wanted).then(|| Difference::new("value", found, *wanted))),
    };
    // A file that cannot be read is not what it was either.
    compared.or_else(|failure| {
        let errno = u64::from(failure.errno.unsigned_abs());
        Ok(Some(Difference::new(failure.message, errno, 0)))
    })
}

fn value(probe: &File) -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    rustix::io::read(probe, &mut bytes).tried("read the test handler's file")?;
    Ok(u64::from_le_bytes(bytes))
}

fn spec(seed: u64, size: u64) -> MemfdSpec {
    MemfdSpec {
        content: Content::full(seed, size),
        pages: Pages::Small,
        flags: 0,
        seals: 0,
        position: 0,
    }
}
