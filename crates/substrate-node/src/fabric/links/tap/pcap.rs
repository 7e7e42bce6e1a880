//! A capture file in the format that tcpdump and Wireshark read (pcap, nanoseconds, Ethernet), up to a size.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Says "nanoseconds", and by its byte order how to read the rest.
const MAGIC: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;
/// No frame of the kernel is longer.
const LONGEST: u32 = 262_144;

/// See the module.
pub(super) struct CaptureFile {
    file: BufWriter<File>,
    left: u64,
    written: u64,
}

impl CaptureFile {
    /// Makes a new file, readable by its owner only, and writes its header.
    pub(super) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&MAGIC.to_ne_bytes());
        header.extend_from_slice(&2_u16.to_ne_bytes());
        header.extend_from_slice(&4_u16.to_ne_bytes());
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&LONGEST.to_ne_bytes());
        header.extend_from_slice(&ETHERNET.to_ne_bytes());
        file.write_all(&header)?;
        Ok(Self { file, left: limit.saturating_sub(header.len() as u64), written: 0 })
    }

    /// Appends a frame that arrived at `time`, seconds and nanoseconds, if there is room for it. After the first that
    /// has none nothing more is written, so that the file has no holes.
    pub(super) fn append(&mut self, time: (u32, u32), frame: &[u8], length: u32) -> io::Result<()> {
        let size = 16 + frame.len() as u64;
        if size > self.left {
            self.left = 0;
            return Ok(());
        }
        for number in [time.0, time.1, frame.len() as u32, length] {
            self.file.write_all(&number.to_ne_bytes())?;
        }
        self.file.write_all(frame)?;
        self.left -= size;
        self.written += 1;
        Ok(())
    }

    /// Packets in the file, once all of them are in it.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_holds_whole_packets_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.pcap");
        let mut file = CaptureFile::create(&path, 24 + 2 * (16 + 60)).unwrap();
        for number in 0..4 {
            file.append((1, number), &[7; 60], 60).unwrap();
        }
        assert_eq!(file.finish().unwrap(), 2);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 2 * 76);
        // Magic, version 2.4; the second packet: 1 s, 1 ns, 60 of 60 bytes.
        assert_eq!(
            &bytes[..8],
            [0xa1b2_3c4d_u32.to_ne_bytes(), [2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat().try_into().unwrap()]
                .concat()
        );
        let second = &bytes[24 + 76..];
        let numbers: Vec<u32> =
            second[..16].chunks(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap())).collect();
        assert_eq!(numbers, [1, 1, 60, 60]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.pcap");
        std::fs::write(&path, "mine").unwrap();
        assert!(CaptureFile::create(&path, 1000).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
