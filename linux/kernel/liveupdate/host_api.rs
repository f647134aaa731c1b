// SPDX-License-Identifier: GPL-2.0-only

//! The ways in for a program that runs LUO in user space: what `boot` and `capi` are for
//! a kernel. User space itself comes through the device, as ever.

use crate::{device::LiveupdateDevice, reboot::Remains, Luo};
use kernel::{
    fmt,
    fs::handle::Device,
    liveupdate::{FileHandler, Flb, FlbObject},
    prelude::*,
};

static DEVICE: Device<LiveupdateDevice> = Device::new(c"liveupdate");

/// Finds what the previous kernel left, prepares what this one leaves, and registers the device.
pub fn boot() -> Result {
    let luo = Luo::new(Remains::restore()?)?;
    crate::INSTANCE.populate(luo);
    self::luo()?.publish_root()?;
    DEVICE.register()
}

fn luo() -> Result<&'static Luo> {
    crate::instance().ok_or(ENODEV)
}

/// What debugfs shows of the previous kernel's remains.
pub fn show_incoming() -> Result<String> {
    struct Shown(&'static Luo);
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.show_incoming(f)
        }
    }
    Ok(Shown(luo()?).to_string())
}

/// `liveupdate_reboot()`.
pub fn reboot() -> Result {
    luo()?.hand_over()
}

/// `liveupdate_register_file_handler()`.
pub fn register_file_handler(handler: FileHandler) -> Result {
    luo()?.registry.register(handler)
}

/// `liveupdate_unregister_file_handler()`.
pub fn unregister_file_handler(handler: FileHandler) -> Result {
    luo()?.registry.unregister(handler);
    Ok(())
}

/// `liveupdate_register_flb()`.
pub fn register_flb(handler: FileHandler, flb: Flb) -> Result {
    luo()?.registry.link(handler, flb)
}

/// `liveupdate_unregister_flb()`.
pub fn unregister_flb(handler: FileHandler, flb: Flb) -> Result {
    luo()?.registry.unlink(handler, flb)
}

/// `liveupdate_flb_get_incoming()`.
pub fn flb_get_incoming(flb: Flb) -> Result<FlbObject> {
    luo()?.incoming_flbs.find(&flb.compatible())?.borrow(flb)
}

/// `liveupdate_flb_put_incoming()`.
pub fn flb_put_incoming(flb: Flb) -> Result {
    luo()?.incoming_flbs.find(&flb.compatible())?.give_back();
    Ok(())
}

/// `liveupdate_flb_get_outgoing()`.
pub fn flb_get_outgoing(flb: Flb) -> Result<FlbObject> {
    luo()?.registry.outgoing_flb(flb).ok_or(ENOENT)?.borrow()
}

/// `liveupdate_flb_put_outgoing()`.
pub fn flb_put_outgoing(flb: Flb) -> Result {
    luo()?.registry.outgoing_flb(flb).ok_or(ENOENT)?.give_back();
    Ok(())
}
