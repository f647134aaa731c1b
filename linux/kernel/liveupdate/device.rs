// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/liveupdate` and the files of sessions.
//!
//! A descriptor reaches the caller in three steps: what it stands for is made, its number is
//! written to the caller's memory, the descriptor is installed. If the second step fails the first
//! is undone, as if nothing had been asked for. PRESERVE_FD and FINISH return nothing that the
//! caller does not know, so they write nothing.

use crate::{
    abi::{
        CreateSession, Finish, GetName, PreserveFd, Request, RetrieveFd, RetrieveSession, NAME_LEN,
    },
    file::Token,
    ioctl::{reserve_fd, Call},
    session::{incoming::Checkout, outgoing::Owner, SessionName},
    Luo,
};
use kernel::{
    fs::{
        handle::{anon_file, Handle, Open},
        File,
    },
    prelude::*,
    seq_file::SeqFile,
    sync::{
        aref::ARef,
        atomic::{ordering, Atomic},
    },
};

/// Whether somebody has the device open.
pub(crate) struct Exclusive(Atomic<bool>);

impl Exclusive {
    /// Nobody has.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(false))
    }
}

/// The open device.
pub(crate) struct LiveupdateDevice(&'static Luo);

impl Open for LiveupdateDevice {
    /// Opens the device. The first time, the sessions of the previous kernel are read.
    ///
    /// # Errors
    ///
    /// `EBUSY` somebody else has it open; `EIO`, for good, what the previous kernel wrote is
    /// broken; `ENOMEM` (may be repeated).
    fn open() -> Result<Self> {
        let luo = crate::instance().ok_or(ENODEV)?;
        if luo.device.0.xchg(true, ordering::Acquire) {
            return Err(EBUSY);
        }
        let device = Self(luo);
        luo.incoming_flbs.check()?;
        luo.incoming.lock().restore()?;
        Ok(device)
    }
}

impl Drop for LiveupdateDevice {
    fn drop(&mut self) {
        self.0.device.0.store(false, ordering::Release);
    }
}

impl Handle for LiveupdateDevice {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result {
        let call = Call::new(cmd, arg, 0x00..=0x01)?;
        match call.cmd() {
            CreateSession::CMD => create_session(self.0, &call),
            RetrieveSession::CMD => retrieve_session(self.0, &call),
            _ => Err(ENOTTY),
        }
    }
}

fn create_session(luo: &'static Luo, call: &Call) -> Result {
    let mut request: CreateSession = call.read()?;
    let fd = reserve_fd()?;
    let owner = Owner::create(luo, SessionName::new(&request.name)?)?;
    request.fd = fd.reserved_fd() as i32;
    call.reply(&request)?;
    let file = session_file(*owner.name(), OutgoingFile(owner))?;
    fd.fd_install(file);
    Ok(())
}

fn retrieve_session(luo: &'static Luo, call: &Call) -> Result {
    let mut request: RetrieveSession = call.read()?;
    let fd = reserve_fd()?;
    // No session has a name that cannot be one.
    let name = SessionName::new(&request.name).map_err(|_| ENOENT)?;
    let checkout = Checkout::retrieve(luo, name)?;
    request.fd = fd.reserved_fd() as i32;
    call.reply(&request)?;
    let session = checkout.session();
    let file = session_file(name, IncomingFile(checkout))?;
    Checkout::deliver(&session)?;
    fd.fd_install(file);
    Ok(())
}

/// Makes the file that owns a session.
fn session_file<T: Handle>(name: SessionName, handle: T) -> Result<ARef<File>> {
    const PREFIX: &[u8] = b"[luo_session] ";
    let mut title = [0; PREFIX.len() + NAME_LEN];
    title[..PREFIX.len()].copy_from_slice(PREFIX);
    title[PREFIX.len()..].copy_from_slice(name.bytes());
    let title = CStr::from_bytes_until_nul(&title).map_err(|_| EINVAL)?;
    anon_file(title, KBox::new(handle, GFP_KERNEL)?)
}

/// The commands of session files.
const SESSION_NUMBERS: core::ops::RangeInclusive<u32> = 0x40..=0x43;

/// Answers GET_NAME.
fn get_name(call: &Call, name: &SessionName) -> Result {
    let mut request: GetName = call.read()?;
    if request.reserved != 0 {
        return Err(EINVAL);
    }
    request.name = *name.bytes();
    call.reply(&request)
}

/// The file of an outgoing session.
struct OutgoingFile(Owner);

impl Handle for OutgoingFile {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result {
        let call = Call::new(cmd, arg, SESSION_NUMBERS)?;
        match call.cmd() {
            PreserveFd::CMD => {
                let request: PreserveFd = call.read()?;
                self.0.preserve(Token(request.token), request.fd)
            }
            GetName::CMD => get_name(&call, self.0.name()),
            RetrieveFd::CMD | Finish::CMD => Err(EINVAL),
            _ => Err(ENOTTY),
        }
    }

    fn show_fdinfo(&self, m: &SeqFile) {
        self.0.show(m);
    }
}

/// The file of a retrieved session.
struct IncomingFile(Checkout);

impl Handle for IncomingFile {
    fn ioctl(&self, cmd: u32, arg: usize) -> Result {
        let call = Call::new(cmd, arg, SESSION_NUMBERS)?;
        match call.cmd() {
            RetrieveFd::CMD => self.retrieve_fd(&call),
            Finish::CMD => {
                let request: Finish = call.read()?;
                if request.reserved != 0 {
                    return Err(EINVAL);
                }
                self.0.finish()
            }
            GetName::CMD => get_name(&call, self.0.name()),
            PreserveFd::CMD => Err(EINVAL),
            _ => Err(ENOTTY),
        }
    }

    fn show_fdinfo(&self, m: &SeqFile) {
        self.0.show(m);
    }
}

impl IncomingFile {
    fn retrieve_fd(&self, call: &Call) -> Result {
        let mut request: RetrieveFd = call.read()?;
        let fd = reserve_fd()?;
        let token = Token(request.token);
        let file = self.0.retrieve_file(token)?;
        request.fd = fd.reserved_fd() as i32;
        call.reply(&request)?;
        self.0.file_delivered(token);
        fd.fd_install(file);
        Ok(())
    }
}
