//! Packet sockets: frames as they are on a link, below everything that nftables sees.

#![expect(unsafe_code, reason = "socket options and addresses that no library wraps")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Opens one in the calling thread's network namespace. It receives nothing before it is bound.
pub(super) fn open() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// What a socket receives once it is bound.
#[derive(Clone, Copy)]
pub(super) enum Receives {
    /// Frames of every protocol.
    Everything,
    /// It only sends.
    Nothing,
}

/// Binds it to a link, or to every link where `link` is 0.
pub(super) fn bind(socket: &OwnedFd, link: u32, receives: Receives) -> io::Result<()> {
    let protocol = match receives {
        Receives::Everything => libc::ETH_P_ALL as u16,
        Receives::Nothing => 0,
    };
    // SAFETY: plain numbers, of which zeros are valid ones.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = link.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is as long as said.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option of the level `SOL_PACKET`.
pub(super) fn set_option<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is as long as said; the kernel only reads it.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Frames for which there was no room, since this was asked last.
pub(super) fn dropped(socket: &OwnedFd) -> io::Result<u64> {
    // SAFETY: plain numbers, of which zeros are valid ones.
    let mut statistics: libc::tpacket_stats_v3 = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
    // SAFETY: there is room for as much as said. A socket without a ring answers with the first two numbers.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(u64::from(statistics.tp_drops)) } else { Err(io::Error::last_os_error()) }
}
