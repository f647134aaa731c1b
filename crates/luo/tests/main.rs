// SPDX-License-Identifier: GPL-2.0-only

//! Properties of LUO that its users rely on, checked from outside: by ioctls, by what the log and
//! `fdinfo` say, and by the bytes that the next kernel finds.

mod blocks;
mod bytes;
mod checkout;
#[path = "../../../linux/kernel/liveupdate/conformance.rs"]
mod conformance;
mod countdown;
mod faults;
mod fdinfo;
mod flb;
mod freeze;
mod golden;
mod handed_over;
mod handlers;
mod hostile;
mod ioctls;
mod isolation;
mod kexec_refused;
mod model;
mod nucleus;
mod passed_on;
mod round_trip;
