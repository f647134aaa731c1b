// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The address that QEMU's user network expects: 10.0.2.15/24 on eth0, everything else through 10.0.2.2.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

pub(crate) fn up() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("cannot make a socket")?;
    set_up(&socket, "lo").context("cannot bring up lo")?;
    interface_ioctl(&socket, "eth0", libc::SIOCSIFADDR, |request| {
        request.ifru_addr = address(ADDRESS);
    })
    .context("cannot give eth0 its address")?;
    interface_ioctl(&socket, "eth0", libc::SIOCSIFNETMASK, |request| {
        request.ifru_netmask = address(NETMASK);
    })
    .context("cannot give eth0 its network mask")?;
    set_up(&socket, "eth0").context("cannot bring up eth0")?;
    default_route(&socket).context("cannot set the default route")
}

fn set_up(socket: &UdpSocket, interface: &str) -> io::Result<()> {
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    interface_ioctl(socket, interface, libc::SIOCSIFFLAGS, |request| {
        request.ifru_flags = flags;
    })
}

fn interface_ioctl(
    socket: &UdpSocket,
    interface: &str,
    number: libc::c_ulong,
    set: impl FnOnce(&mut libc::__c_anonymous_ifr_ifru),
) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`: it holds integers and addresses only.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    set(&mut request.ifr_ifru);
    // SAFETY: these commands read one `ifreq`.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number as _, &raw const request) })
}

fn default_route(socket: &UdpSocket) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `rtentry`: integers, addresses and null pointers.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = address(GATEWAY);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the command reads one `rtentry`, whose device name may be null.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw const route) })
}

fn address(ip: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all-zero bytes are a valid `sockaddr`.
    let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
    address.sa_family = libc::AF_INET as libc::sa_family_t;
    // A `sockaddr_in` has the port in the first two bytes and the address in the next four.
    for (to, from) in address.sa_data[2..6].iter_mut().zip(ip.octets()) {
        *to = from.cast_signed();
    }
    address
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
