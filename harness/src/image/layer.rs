//! A layer of an image: files, as an uncompressed tar whose bytes depend on nothing but them. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

/// What stands at a path of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file with these bytes.
    File(Vec<u8>),
    /// A folder.
    Directory,
    /// A symbolic link to this target.
    Link(Utf8PathBuf),
}

/// Something at a path of an image. Everything belongs to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path.
    pub path: Utf8PathBuf,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

impl Entry {
    /// A program, which everybody may run.
    #[must_use]
    pub fn program(path: impl Into<Utf8PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o755, content: Content::File(bytes) }
    }

    /// A file that everybody may read.
    #[must_use]
    pub fn file(path: impl Into<Utf8PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o644, content: Content::File(bytes) }
    }

    /// A folder. Those above entries come by themselves, so this is for empty ones and for other permission bits.
    #[must_use]
    pub fn directory(path: impl Into<Utf8PathBuf>, mode: u32) -> Self {
        Self { path: path.into(), mode, content: Content::Directory }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(path: impl Into<Utf8PathBuf>, target: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o777, content: Content::Link(target.into()) }
    }
}

/// A layer and its digest. Images that share one are stored with it once.
#[derive(Clone, PartialEq, Eq)]
pub struct Layer {
    bytes: Vec<u8>,
    digest: String,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Layer({}, {} bytes)", self.digest, self.bytes.len())
    }
}

impl Layer {
    /// The layer with these entries, in whatever order they are given. Of two at one path the last one holds.
    ///
    /// # Errors
    /// Where a path is not absolute, or longer than tar allows.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> io::Result<Self> {
        let mut all = BTreeMap::new();
        for entry in entries {
            if !entry.path.is_absolute() {
                let message = format!("{} is not an absolute path, as the paths of an image are", entry.path);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            for folder in entry.path.ancestors().skip(1).filter(|folder| folder.parent().is_some()) {
                all.entry(folder.to_owned()).or_insert_with(|| Entry::directory(folder, 0o755));
            }
            all.insert(entry.path.clone(), entry);
        }
        // By path, so that a folder comes before what is in it.
        let mut builder = tar::Builder::new(Vec::new());
        for entry in all.values() {
            append(&mut builder, entry)?;
        }
        let bytes = builder.into_inner()?;
        let digest = digest(&bytes);
        Ok(Self { bytes, digest })
    }

    /// The uncompressed tar.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its digest, `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn append(builder: &mut tar::Builder<Vec<u8>>, entry: &Entry) -> io::Result<()> {
    let mut header = header(entry.mode);
    let path = relative(&entry.path);
    match &entry.content {
        Content::File(bytes) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            builder.append_data(&mut header, path, bytes.as_slice())
        }
        Content::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, path, io::empty())
        }
        Content::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, path, target)
        }
    }
}

/// A header without owner, names or time of its own.
pub(crate) fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn relative(path: &Utf8Path) -> &str {
    path.as_str().trim_start_matches('/')
}

/// `sha256:` and the hexadecimal digest of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The same, of a digest that is known.
pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(layer: &Layer) -> Vec<String> {
        let mut archive = tar::Archive::new(layer.bytes());
        let entries = archive.entries().expect("a tar");
        entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let header = entry.header();
                let target = entry.link_name().expect("a target").map(|target| format!(" -> {}", target.display()));
                format!(
                    "{:?} {:o} {} {}{}",
                    header.entry_type(),
                    header.mode().expect("a mode"),
                    header.size().expect("a size"),
                    entry.path().expect("a path").display(),
                    target.unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn a_layer_holds_what_it_was_given_and_the_folders_above_it() {
        let long = format!("/usr/{}/x", "very-long".repeat(20));
        let layer = Layer::new([
            Entry::program("/usr/bin/echo", b"elf".to_vec()),
            Entry::directory("/tmp", 0o1777),
            Entry::link("/bin", "usr/bin"),
            Entry::file(long.clone(), b"long".to_vec()),
        ])
        .expect("a layer");
        let listed = listed(&layer);
        assert_eq!(listed[..3], ["Symlink 777 0 bin -> usr/bin", "Directory 1777 0 tmp", "Directory 755 0 usr"]);
        assert_eq!(listed[3..5], ["Directory 755 0 usr/bin", "Regular 755 3 usr/bin/echo"]);
        assert_eq!(listed[6], format!("Regular 644 4 {}", long.trim_start_matches('/')));
    }

    #[test]
    fn the_order_of_entries_does_not_matter_and_everything_else_does() {
        let of = |entries: Vec<Entry>| Layer::new(entries).expect("a layer").digest().to_owned();
        let (one, two) = (Entry::program("/a", vec![1]), Entry::file("/b", vec![2]));
        let digest = of(vec![one.clone(), two.clone()]);
        assert_eq!(digest, of(vec![two.clone(), one.clone()]));
        assert_ne!(digest, of(vec![one.clone()]));
        assert_ne!(digest, of(vec![Entry { mode: 0o700, ..one.clone() }, two.clone()]));
        assert_ne!(digest, of(vec![one, Entry { content: Content::File(vec![3]), ..two }]));
    }

    #[test]
    fn a_relative_path_is_refused() {
        let error = Layer::new([Entry::file("etc/passwd", Vec::new())]).expect_err("refused");
        assert_eq!(error.to_string(), "etc/passwd is not an absolute path, as the paths of an image are");
    }
}
