//! Messages between processes of this program, over a stream socket: a length, the bytes, and at most one descriptor.
#![expect(unsafe_code, reason = "received descriptors are plain numbers")]

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Far above any pod's environment and volumes.
const LONGEST: u64 = 64 << 20;

/// Sends a message; the descriptor travels beside its first byte.
pub(crate) fn send(stream: &UnixStream, text: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let length = u64::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes();
    let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&length)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    if sent != length.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut stream = stream;
    stream.write_all(text)
}

/// Waits for a message; `None` at the end of the stream.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut header = [0; 8];
    let mut space = nix::cmsg_space!([libc::c_int; 1]);
    let mut parts = [IoSliceMut::new(&mut header)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptor = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            for number in received {
                // SAFETY: the kernel just made this descriptor for us.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    match message.bytes {
        0 => return Ok(None),
        8 => {}
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    let length = u64::from_be_bytes(header);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    stream.take(length).read_to_end(&mut text)?;
    if text.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((text, descriptor)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptor() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("given");
        std::fs::write(&path, "given").unwrap();
        send(&ours, b"first", None).unwrap();
        send(&ours, b"", Some(File::open(&path).unwrap().as_fd())).unwrap();
        drop(ours);
        assert!(matches!(receive(&theirs).unwrap(), Some((text, None)) if text == b"first"));
        let (text, given) = receive(&theirs).unwrap().unwrap();
        let mut content = String::new();
        File::from(given.unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!((text.as_slice(), content.as_str()), (&b""[..], "given"));
        assert!(receive(&theirs).unwrap().is_none());
    }

    #[test]
    fn half_a_message_is_none() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&ours).write_all(&[0, 0, 0, 0, 0, 0, 0, 9, b'x']).unwrap();
        drop(ours);
        assert!(receive(&theirs).is_err());
    }
}
