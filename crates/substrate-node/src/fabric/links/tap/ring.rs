//! A packet socket whose packets the kernel puts into memory that this process shares with it (`AF_PACKET`,
//! `TPACKET_V3`), so that a busy moment of this process loses none: the socket's own buffer is small and cannot be made
//! larger without privilege on the host.

#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::packet_socket::{self, Receives};

/// Larger than any frame of the kernel.
const BLOCK: usize = 256 * 1024;
const BLOCKS: usize = 64;
/// The kernel hands a block over when it is full, or after so long.
pub(super) const HAND_OVER: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    next: usize,
}

// SAFETY: the memory belongs to this value alone; the kernel, its other user, does not care which thread reads it.
unsafe impl Send for Ring {}

/// A captured frame.
pub(super) struct Frame<'a> {
    /// Index of the link on which it arrived.
    pub(super) link: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) time: (u32, u32),
    /// As much of it as was captured.
    pub(super) bytes: &'a [u8],
    /// Its whole length.
    pub(super) length: u32,
}

impl Ring {
    /// Captures what arrives on all links of the calling thread's network namespace, from now on.
    pub(super) fn open() -> io::Result<Self> {
        let socket = packet_socket::open()?;
        packet_socket::set_option(&socket, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as libc::c_int))?;
        packet_socket::set_option(&socket, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: BLOCK as u32,
            tp_frame_nr: BLOCKS as u32,
            tp_retire_blk_tov: HAND_OVER.as_millis() as u32,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        packet_socket::set_option(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at an address of the kernel's choice, of the size that was just asked for.
        let memory = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), BLOCK * BLOCKS, access, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("memory at address 0"))?;
        let ring = Self { socket, memory, next: 0 };
        // Only now, so that nothing arrives before there is a place for it.
        packet_socket::bind(&ring.socket, 0, Receives::Everything)?;
        Ok(ring)
    }

    /// Waits for the kernel's next block, and shows its frames. `false` where none came in time.
    pub(super) fn read(&mut self, patience: Duration, mut see: impl FnMut(Frame<'_>)) -> io::Result<bool> {
        if !self.is_ready() {
            let mut descriptors = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut descriptors, PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.is_ready() {
                return Ok(false);
            }
        }
        self.frames(&mut see);
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % BLOCKS;
        Ok(true)
    }

    /// Frames that were lost since this was asked last.
    pub(super) fn dropped(&self) -> io::Result<u64> {
        packet_socket::dropped(&self.socket)
    }

    fn is_ready(&self) -> bool {
        self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    fn block(&self) -> NonNull<u8> {
        // SAFETY: `next` is below the number of blocks, all of which are mapped.
        unsafe { self.memory.add(self.next * BLOCK) }
    }

    /// Says whose the block is: the kernel's or ours.
    fn status(&self) -> &AtomicU32 {
        let header = self.block().cast::<libc::tpacket_block_desc>();
        // SAFETY: the block begins with this header, aligned to a page; both sides access the word atomically.
        unsafe { AtomicU32::from_ptr(&raw mut (*header.as_ptr()).hdr.bh1.block_status) }
    }

    fn frames(&self, see: &mut impl FnMut(Frame<'_>)) {
        // SAFETY: the block is ours until its status is given back, so that nobody writes into it meanwhile.
        let block = unsafe { std::slice::from_raw_parts(self.block().as_ptr(), BLOCK) };
        // SAFETY: as for the status; the version 3 header is the only one there is.
        let header = unsafe { (*self.block().cast::<libc::tpacket_block_desc>().as_ptr()).hdr.bh1 };
        let mut offset = header.offset_to_first_pkt as usize;
        for _ in 0..header.num_pkts {
            let Some(frame) = frame(block, offset) else { return };
            offset += frame.1;
            see(frame.0);
        }
    }
}

/// The frame whose header is at `offset`, and how far from there the next one is.
fn frame(block: &[u8], offset: usize) -> Option<(Frame<'_>, usize)> {
    let bytes = block.get(offset..)?;
    let header: libc::tpacket3_hdr = read(bytes)?;
    let address: libc::sockaddr_ll = read(bytes.get(size_of::<libc::tpacket3_hdr>().next_multiple_of(16)..)?)?;
    let start = usize::from(header.tp_mac);
    let captured = bytes.get(start..start + header.tp_snaplen as usize)?;
    let link = u32::try_from(address.sll_ifindex).ok()?;
    let time = (header.tp_sec, header.tp_nsec);
    let frame = Frame { link, time, bytes: captured, length: header.tp_len };
    Some((frame, header.tp_next_offset as usize))
}

/// Copies a structure of the kernel out of the beginning of `bytes`.
fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are enough bytes, and the structures read here are plain numbers, of which every pattern is one.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this size, and nothing that points into it is left.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK * BLOCKS) };
    }
}
