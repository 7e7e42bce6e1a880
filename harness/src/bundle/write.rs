//! The form of a bundle, written: a tar within gzip, the manifest first.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use super::manifest::{Entry, FORMAT, LOCK, Manifest, NAME, Named, Part};
use crate::image::archive::{append, architecture};
use crate::image::layer::{digest, header, hexadecimal};

/// How every bundle begins: gzip, without flags, time or name. Readers of gzip pass over most of these bytes; ours does not.
pub(super) const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What a file of a bundle is made of.
#[derive(Debug)]
pub enum Source {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A file, from its begin.
    File(File),
}

/// A file that goes into a bundle.
#[derive(Debug)]
pub struct Content {
    /// Its path there.
    pub path: String,
    /// What it belongs to.
    pub part: Option<Part>,
    /// The images in it, where it is an archive of such.
    pub images: Vec<Named>,
    /// Its bytes.
    pub source: Source,
}

impl Content {
    /// The lock file.
    #[must_use]
    pub fn lock(text: &str) -> Self {
        Self { path: LOCK.to_owned(), part: None, images: Vec::new(), source: Source::Bytes(text.into()) }
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let (bytes, digest) = match &mut self.source {
            Source::Bytes(bytes) => (bytes.len() as u64, digest(bytes)),
            Source::File(file) => measure(file)?,
        };
        Ok(Entry { path: self.path.clone(), part: self.part, bytes, digest, images: self.images.clone() })
    }
}

fn measure(file: &mut File) -> io::Result<(u64, String)> {
    file.rewind()?;
    let mut hash = Sha256::new();
    let bytes = io::copy(file, &mut hash)?;
    Ok((bytes, hexadecimal(&hash.finalize())))
}

/// What came of writing.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The digest of the whole file.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
}

/// Writes a bundle. The same contents make the same bytes.
///
/// # Errors
/// Those of reading the contents and of writing.
pub fn write(out: impl Write, istio: Option<&str>, mut contents: Vec<Content>) -> io::Result<Written> {
    let files = contents.iter_mut().map(Content::entry).collect::<io::Result<Vec<Entry>>>()?;
    let manifest = Manifest {
        format: FORMAT,
        meshproof: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: architecture().to_owned(),
        istio: istio.map(str::to_owned),
        parts: files.iter().filter_map(|file| file.part).collect(),
        files,
    };
    let out = Hashing { out, hash: Sha256::new(), bytes: 0 };
    let compressed = GzBuilder::new().operating_system(HEAD[9]).write(out, Compression::default());
    let mut tar = tar::Builder::new(compressed);
    append(&mut tar, NAME, &serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?)?;
    for (content, entry) in contents.into_iter().zip(&manifest.files) {
        match content.source {
            Source::Bytes(bytes) => append(&mut tar, &entry.path, &bytes)?,
            Source::File(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                let mut header = header(0o644);
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(entry.bytes);
                tar.append_data(&mut header, &entry.path, file.take(entry.bytes))?;
            }
        }
    }
    let mut out = tar.into_inner()?.finish()?;
    out.flush()?;
    Ok(Written { manifest, digest: hexadecimal(&out.hash.finalize()), bytes: out.bytes })
}

/// Passes bytes on, and knows the digest of all.
struct Hashing<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
