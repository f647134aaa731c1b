// SPDX-License-Identifier: GPL-2.0-only

//! A simulated machine with LUO on it, and what a program does there: the vocabulary of every test that runs LUO in user
//! space.

mod busy;
pub mod countdown;
pub mod driver;
pub mod image;
pub mod ledger;
pub mod probe;
pub mod shared;
pub mod trial;
pub mod uapi;

use kernel::{
    host::{self, Image, memfd},
    liveupdate::FileHandler,
    prelude::*,
};
use luo::host_api;
use probe::Probe;
use uapi::Call;

/// "Numerical argument out of domain": LUO itself never gives it.
pub const EDOM: Error = Error::from_errno(-33);
/// "Cannot send after transport endpoint shutdown".
pub const ESHUTDOWN: Error = Error::from_errno(-108);
/// "No data available".
pub const ENODATA: Error = Error::from_errno(-61);

/// Powers a machine on that has LUO, and a handler for memfds whose calls are recorded.
pub fn power_on() -> &'static Probe {
    let probe = Probe::new("probe-v1");
    power_on_with(&[FileHandler::new(probe)]);
    probe
}

/// Powers a machine on that has LUO and these handlers.
pub fn power_on_with(handlers: &[FileHandler]) {
    // The thread may have served another test: nothing of that is left.
    host::load_image(Image::WithoutHandover);
    host::kexec();
    boot(handlers);
}

/// Boots the kernel that is there, up to the state in which programs can run.
pub fn boot(handlers: &[FileHandler]) {
    host_api::boot().unwrap();
    for handler in handlers {
        host_api::register_file_handler(*handler).unwrap();
    }
}

/// Loads the next kernel and asks for it, as `reboot(LINUX_REBOOT_CMD_KEXEC)` does.
pub fn reboot() -> Result {
    host::load_image(Image::WithHandover);
    host_api::reboot()
}

/// Goes on to the next kernel, which has these handlers.
pub fn kexec_with(handlers: &[FileHandler]) {
    reboot().unwrap();
    host::kexec();
    boot(handlers);
}

/// Goes on to the next kernel, which has this handler.
pub fn kexec(probe: &'static Probe) {
    reboot().unwrap();
    host::kexec();
    probe.rebooted();
    boot(&[FileHandler::new(probe)]);
}

/// Opens the device.
pub fn open_device() -> Result<i32> {
    host::open(c"liveupdate")
}

/// Calls an ioctl of the device, which is open only meanwhile.
fn device_call(call: &Call) -> Result {
    let device = open_device()?;
    let result = call.on(device);
    host::close(device).unwrap();
    result
}

/// `CREATE_SESSION`.
pub fn create(name: &str) -> Result<i32> {
    let call = Call::create(name);
    device_call(&call)?;
    Ok(call.fd())
}

/// `RETRIEVE_SESSION`.
pub fn retrieve(name: &str) -> Result<i32> {
    let call = Call::retrieve(name);
    device_call(&call)?;
    Ok(call.fd())
}

/// `PRESERVE_FD`.
pub fn preserve(session: i32, fd: i32, token: u64) -> Result {
    Call::preserve_fd(fd, token).on(session)
}

/// `PRESERVE_FD` of a new memfd that holds `contents`, and is closed then.
pub fn preserve_new(session: i32, contents: &str, token: u64) -> Result {
    let fd = memfd::create(contents.as_bytes())?;
    let result = preserve(session, fd, token);
    host::close(fd).unwrap();
    result
}

/// `RETRIEVE_FD`.
pub fn retrieve_fd(session: i32, token: u64) -> Result<i32> {
    let call = Call::retrieve_fd(token);
    call.on(session)?;
    Ok(call.fd())
}

/// `RETRIEVE_FD`, and what the memfd then holds.
pub fn retrieve_contents(session: i32, token: u64) -> Result<String> {
    let fd = retrieve_fd(session, token)?;
    let contents = memfd::read(fd).unwrap();
    host::close(fd).unwrap();
    Ok(String::from_utf8(contents).unwrap())
}

/// FINISH.
pub fn finish(session: i32) -> Result {
    Call::finish().on(session)
}

/// Whether the session is there: retrieved by nobody, and waiting.
pub fn is_available(name: &str) -> bool {
    match retrieve(name) {
        Ok(session) => {
            host::close(session).unwrap();
            true
        }
        Err(_) => false,
    }
}
