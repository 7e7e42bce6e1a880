//! The form of a bundle, read: everything in it is held against what it says of itself before anything is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::manifest::{Entry, FORMAT, Manifest, NAME, Named, Part};
use super::write::HEAD;
use crate::image::archive::architecture;
use crate::image::layer::hexadecimal;

/// The largest manifest that is read.
const LARGEST: u64 = 1 << 20;

/// A bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the bundle {path} cannot be used: {problem}")]
pub struct Error {
    /// The file.
    pub path: Utf8PathBuf,
    /// Why not.
    pub problem: Problem,
}

/// Why a bundle cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It does not begin as bundles do.
    #[error("it does not begin as bundles do")]
    NoBundle,
    /// Another version has written it.
    #[error("it has form {found}, and this version of meshproof reads form {FORMAT}")]
    Format {
        /// Its form.
        found: u32,
    },
    /// Its manifest is not one.
    #[error("what it says of itself cannot be understood: {0}")]
    Manifest(String),
    /// It ends too soon.
    #[error("it is cut off")]
    CutOff,
    /// Its bytes were changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A file in it is another one.
    #[error("{file} in it has the digest {found}, and it says of itself {expected}")]
    Differs {
        /// The file.
        file: String,
        /// What the manifest has.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// It has a file too many.
    #[error("{0} is in it, and it does not say so of itself")]
    Unknown(String),
    /// It has a file too few.
    #[error("it says of itself that it has {0}, which is not in it")]
    Absent(String),
    /// Its programs run on other machines.
    #[error("its programs are for {found}, and this machine is {here}")]
    Architecture {
        /// Its machines.
        found: String,
        /// This one.
        here: String,
    },
    /// Another version of meshproof has made it.
    #[error("meshproof {found} has made it, and this is meshproof {}", env!("CARGO_PKG_VERSION"))]
    Version {
        /// That version.
        found: String,
    },
    /// It was made with other versions of what is not ours.
    #[error("it was made with another versions.lock.yaml than this program has")]
    Lock,
    /// It lacks what is needed of it.
    #[error("it was made without {0}")]
    Lacks(Part),
    /// It has another release of Istio.
    #[error("it has Istio {found}, and {wanted} is wanted")]
    Istio {
        /// Its release.
        found: String,
        /// The one that is wanted.
        wanted: String,
    },
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(String),
    /// What is in it cannot be written down.
    #[error("what is in it cannot be unpacked: {0}")]
    Unpack(String),
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Read(_) => "name a file that `cargo xtask bundle` has written".to_owned(),
            Self::Unpack(_) => "see whether there is room: `df -h`".to_owned(),
            Self::Architecture { .. } | Self::Version { .. } | Self::Lock | Self::Format { .. } => {
                "make it with this version of meshproof, on a machine of this kind: `cargo xtask bundle`".to_owned()
            }
            Self::Lacks(part) => {
                format!("make it with that part: `cargo xtask bundle --only {part}` and what else is needed")
            }
            Self::Istio { found, .. } => {
                format!("say `--istio-version {found}`, or make a bundle with the other release")
            }
            _ => {
                "carry it over again; `sha256sum` has to print on both machines what `bundle` printed when it was made"
                    .to_owned()
            }
        }
    }
}

/// A bundle that was found to be whole.
#[derive(Debug)]
pub struct Bundle {
    path: Utf8PathBuf,
    file: File,
    manifest: Manifest,
}

impl Bundle {
    /// Opens a bundle and reads all of it: nothing in it is used before everything in it is known to be right.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(path: &Utf8Path, lock: &str) -> Result<Self, Error> {
        let failed = |problem| Error { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|error| failed(Problem::Read(error.to_string())))?;
        let manifest = walk(BufReader::new(&file), |_| Ok(None)).map_err(failed)?;
        manifest.fits(architecture(), lock).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, manifest })
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// That something about it stands in the way.
    #[must_use]
    pub fn refuse(&self, problem: Problem) -> Error {
        Error { path: self.path.clone(), problem }
    }

    /// The archives of images of a part, as files without a name: they are gone with this process, however that ends.
    ///
    /// # Errors
    /// [`Error`], also where it changed since it was opened.
    pub fn archives(&self, part: Part) -> Result<Vec<(File, Vec<Named>)>, Error> {
        let mut archives = Vec::new();
        self.again(|entry| {
            if entry.part != Some(part) || entry.images.is_empty() {
                return Ok(None);
            }
            let file = tempfile::tempfile()?;
            archives.push((file.try_clone()?, entry.images.clone()));
            Ok(Some(file))
        })?;
        for (file, _) in &mut archives {
            file.rewind().map_err(|error| self.refuse(Problem::Unpack(error.to_string())))?;
        }
        Ok(archives)
    }

    /// Unpacks files into a folder, below their paths in the bundle. Returns their paths here, in their order.
    ///
    /// # Errors
    /// [`Error`], also where it changed since it was opened.
    pub fn unpack(&self, folder: &Utf8Path, is_wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Utf8PathBuf>, Error> {
        let mut unpacked = Vec::new();
        self.again(|entry| {
            if !is_wanted(entry) {
                return Ok(None);
            }
            let path = folder.join(&entry.path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            let file = File::create(&path)?;
            unpacked.push(path);
            Ok(Some(file))
        })?;
        Ok(unpacked)
    }

    fn again(&self, sink: impl FnMut(&Entry) -> io::Result<Option<File>>) -> Result<(), Error> {
        (&self.file).rewind().map_err(|error| self.refuse(Problem::Read(error.to_string())))?;
        walk(BufReader::new(&self.file), sink).map(drop).map_err(|problem| self.refuse(problem))
    }
}

/// Goes through a bundle to its last byte, and writes the files that `sink` has a place for.
fn walk(bundle: impl BufRead, mut sink: impl FnMut(&Entry) -> io::Result<Option<File>>) -> Result<Manifest, Problem> {
    let mut decoder = GzDecoder::new(checked_head(bundle)?);
    let manifest = files(&mut decoder, &mut sink)?;
    // The end of the tar, and the checksum of gzip behind it.
    io::copy(&mut decoder, &mut io::sink()).map_err(damaged)?;
    match decoder.into_inner().fill_buf() {
        Ok([]) => Ok(manifest),
        Ok(_) => Err(Problem::Damaged("something follows its end".to_owned())),
        Err(error) => Err(Problem::Read(error.to_string())),
    }
}

/// The bundle from its begin, which is as it should be.
fn checked_head<R: BufRead>(mut bundle: R) -> Result<impl BufRead, Problem> {
    let mut head = [0; HEAD.len()];
    match bundle.read_exact(&mut head) {
        Ok(()) if head == HEAD => Ok(io::Cursor::new(HEAD).chain(bundle)),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(Problem::Read(error.to_string())),
        _ => Err(Problem::NoBundle),
    }
}

fn files(tar: impl Read, sink: &mut impl FnMut(&Entry) -> io::Result<Option<File>>) -> Result<Manifest, Problem> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().map_err(damaged)?;
    let manifest = match entries.next() {
        Some(first) => manifest(first.map_err(damaged)?)?,
        None => return Err(Problem::Manifest("it is empty".to_owned())),
    };
    let known: BTreeMap<&str, &Entry> = manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(damaged)?;
        let path = path_of(&entry);
        let Some(file) = known.get(path.as_str()).filter(|_| seen.insert(path.clone())) else {
            return Err(Problem::Unknown(path));
        };
        let target = sink(file).map_err(|error| Problem::Unpack(error.to_string()))?;
        let found = copy(entry, target)?;
        if found != file.digest {
            return Err(Problem::Differs { file: path, expected: file.digest.clone(), found });
        }
    }
    match manifest.files.iter().find(|file| !seen.contains(&file.path)) {
        Some(file) => Err(Problem::Absent(file.path.clone())),
        None => Ok(manifest),
    }
}

fn manifest(entry: tar::Entry<'_, impl Read>) -> Result<Manifest, Problem> {
    let path = path_of(&entry);
    if path != NAME {
        return Err(Problem::Manifest(format!("its first file is {path:?}, not {NAME}")));
    }
    let mut text = Vec::new();
    entry.take(LARGEST).read_to_end(&mut text).map_err(damaged)?;
    Manifest::parse(&text)
}

fn path_of(entry: &tar::Entry<'_, impl Read>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

/// Reads a file to its end, and tells its digest.
fn copy(mut from: impl Read, mut to: Option<File>) -> Result<String, Problem> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut buffer).map_err(damaged)?;
        if length == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&buffer[..length]);
        if let Some(to) = &mut to {
            to.write_all(&buffer[..length]).map_err(|error| Problem::Unpack(error.to_string()))?;
        }
    }
}

fn damaged(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::CutOff,
        _ => Problem::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
