//! The two ends of a wire. What passes between them is a frame with, before it, what the kernel still has to do to it
//! (`PACKET_VNET_HDR`: its segmentation and its checksum).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;

use super::super::packet_socket::{self, Receives};
use crate::fabric::netlink::Mac;

/// Length of `struct virtio_net_hdr`.
const WORK: usize = 10;
/// A frame of the kernel's largest size, and the header before it.
const LARGEST: usize = WORK + 14 + 65_536;
/// The kernel grants less where it allows less.
const BUFFER: usize = 4 * 1024 * 1024;

/// Takes the frames that arrive on a link.
pub(super) struct Incoming {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// Puts frames on a link.
pub(super) struct Outgoing {
    socket: OwnedFd,
    addresses: [u8; 12],
}

fn open(link: u32, receives: Receives) -> io::Result<OwnedFd> {
    let socket = packet_socket::open()?;
    packet_socket::set_option(&socket, libc::PACKET_VNET_HDR, &1_i32)?;
    packet_socket::set_option(&socket, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &BUFFER)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SndBuf, &BUFFER)?;
    packet_socket::bind(&socket, link, receives)?;
    Ok(socket)
}

impl Incoming {
    pub(super) fn open(link: u32) -> io::Result<Self> {
        Ok(Self { socket: open(link, Receives::Everything)?, buffer: vec![0; LARGEST] })
    }

    /// Returns when there is something to receive, and at the latest after so long.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut descriptors = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut descriptors, Some(TimeSpec::from_duration(patience)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame that is there.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        // An error is one of a frame, such as a link that went down; the next wait tells whether it lasts.
        let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT).ok()?;
        self.buffer.get(..length).map(<[u8]>::to_vec)
    }

    /// Frames for which there was no room since this was asked last.
    pub(super) fn dropped(&self) -> u64 {
        packet_socket::dropped(&self.socket).unwrap_or(0)
    }
}

impl Outgoing {
    /// Frames go from the link's own address to that of its other side.
    pub(super) fn open(link: u32, near: Mac, far: Mac) -> io::Result<Self> {
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&far);
        addresses[6..].copy_from_slice(&near);
        Ok(Self { socket: open(link, Receives::Nothing)?, addresses })
    }

    /// Sends a frame as it was received; only its link-layer addresses are those of this link.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut frame = frame.to_vec();
        let place = frame.get_mut(WORK..WORK + self.addresses.len());
        let place = place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame without a header"))?;
        place.copy_from_slice(&self.addresses);
        send(self.socket.as_raw_fd(), &frame, MsgFlags::empty())?;
        Ok(())
    }
}
