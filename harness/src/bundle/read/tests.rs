//! Bundles that are whole, and every way in which one may not be.

use std::io::{Cursor, Seek as _};

use flate2::{Compression, GzBuilder};

use super::*;
use crate::bundle::manifest::LOCK;
use crate::bundle::write::{Content, Source, write};
use crate::image::archive::append;
use crate::image::layer::digest;

const LOCKED: &str = "kubernetes: 1.35\n";

fn content(path: &str, bytes: &[u8]) -> Content {
    Content { path: path.to_owned(), part: Some(Part::Ours), images: Vec::new(), source: Source::Bytes(bytes.into()) }
}

fn bundle() -> Vec<u8> {
    let mut bytes = Vec::new();
    let contents =
        vec![Content::lock(LOCKED), content("images/ours.tar", b"an archive"), content("charts/a.tgz", b"a chart")];
    write(&mut bytes, None, contents).expect("written");
    bytes
}

fn read(bundle: &[u8]) -> Result<Manifest, Problem> {
    walk(bundle, |_| Ok(None))
}

/// A bundle that nobody has written, with these files.
fn made(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for (path, bytes) in files {
        append(&mut tar, path, bytes).expect("packed");
    }
    tar.into_inner().and_then(|gzip| gzip.finish()).expect("packed")
}

fn manifest_with(files: &str) -> Vec<u8> {
    format!(r#"{{"format": 1, "meshproof": "1", "architecture": "amd64", "parts": [], "files": {files}}}"#).into_bytes()
}

#[test]
fn what_was_written_is_read() {
    let manifest = read(&bundle()).expect("whole");
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [LOCK, "images/ours.tar", "charts/a.tgz"]);
    assert_eq!(manifest.files[1].digest, digest(b"an archive"));
    assert_eq!(manifest.parts, [Part::Ours].into());
    assert_eq!(bundle(), bundle(), "the same contents make the same bytes");
}

#[test]
fn what_was_written_is_unpacked_and_held_against_its_digest_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
    let path = folder.join("bundle.tar.gz");
    std::fs::write(&path, bundle()).expect("written");
    let bundle = Bundle::open(&path, LOCKED).expect("whole");
    let unpacked = bundle.unpack(folder, |file| file.path.starts_with("charts/")).expect("unpacked");
    assert_eq!(unpacked, [folder.join("charts/a.tgz")]);
    assert_eq!(std::fs::read(&unpacked[0]).expect("there"), b"a chart");
    assert!(!folder.join("images").exists());

    let error = Bundle::open(&path, "kubernetes: 1.36\n").expect_err("other versions").to_string();
    assert!(
        error.starts_with(&format!("the bundle {path} cannot be used: it was made with another versions.lock")),
        "{error}"
    );

    // Somebody writes into the file that was found to be whole.
    std::fs::write(&path, self::bundle().split_off(20)).expect("written");
    assert_eq!(bundle.unpack(folder, |_| true).expect_err("it changed").problem, Problem::NoBundle);
}

#[test]
fn a_bundle_that_is_cut_off_anywhere_is_refused() {
    let whole = bundle();
    for length in 0..whole.len() {
        let problem = read(&whole[..length]).expect_err("cut off");
        let expected = if length < HEAD.len() { Problem::NoBundle } else { Problem::CutOff };
        assert_eq!(problem, expected, "after {length} of {} bytes", whole.len());
    }
    let problem = read(&[whole.as_slice(), b"x"].concat()).expect_err("more than a bundle");
    assert_eq!(problem, Problem::Damaged("something follows its end".to_owned()));
}

/// Compression has several ways to write the same, so that a few changes are none to what is in a bundle.
#[test]
fn a_bundle_with_any_one_byte_changed_is_refused_or_has_the_same_in_it() {
    let whole = bundle();
    let unchanged = read(&whole).expect("whole");
    let mut accepted = 0;
    for position in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[position] ^= change;
            if let Ok(manifest) = read(&changed) {
                assert_eq!(manifest, unchanged, "byte {position} of {}, changed by {change:#x}", whole.len());
                accepted += 1;
            }
        }
    }
    assert!(accepted * 20 < whole.len(), "{accepted} changes in {} bytes were not noticed", whole.len());
}

#[test]
fn a_file_with_another_digest_is_named_with_both() {
    let files = format!(r#"[{{"path": "a", "bytes": 1, "digest": "{}"}}]"#, digest(b"a"));
    assert!(read(&made(&[(NAME, &manifest_with(&files)), ("a", b"a")])).is_ok());
    let problem = read(&made(&[(NAME, &manifest_with(&files)), ("a", b"b")])).expect_err("another file");
    assert_eq!(problem, Problem::Differs { file: "a".to_owned(), expected: digest(b"a"), found: digest(b"b") });
}

#[test]
fn files_too_many_and_too_few_are_named() {
    let files = format!(r#"[{{"path": "a", "bytes": 1, "digest": "{}"}}]"#, digest(b"a"));
    let manifest = manifest_with(&files);
    assert_eq!(read(&made(&[(NAME, &manifest)])), Err(Problem::Absent("a".to_owned())));
    let twice = made(&[(NAME, &manifest), ("a", b"a"), ("a", b"a")]);
    assert_eq!(read(&twice), Err(Problem::Unknown("a".to_owned())));
    let more = made(&[(NAME, &manifest), ("a", b"a"), ("b", b"b")]);
    assert_eq!(read(&more), Err(Problem::Unknown("b".to_owned())));
}

#[test]
fn what_is_no_bundle_is_told_from_one_of_another_form() {
    for other in [b"".as_slice(), b"PK\x03\x04 a zip of somebody", &[0; 512]] {
        assert_eq!(read(other), Err(Problem::NoBundle));
    }
    let other = made(&[("manifest.json", b"[]")]);
    let said = "its first file is \"manifest.json\", not bundle.json".to_owned();
    assert_eq!(read(&other), Err(Problem::Manifest(said)));
    let newer = made(&[(NAME, br#"{"format": 2, "files": "elsewhere"}"#)]);
    assert_eq!(read(&newer), Err(Problem::Format { found: 2 }));
}

#[test]
fn a_file_is_packed_from_its_begin_wherever_it_was_read_to() {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::copy(&mut Cursor::new(b"an image"), &mut file).expect("written");
    let at_its_end = file.stream_position().expect("known");
    let image = Content { path: "a".to_owned(), part: None, images: Vec::new(), source: Source::File(file) };
    let mut bytes = Vec::new();
    let written = write(&mut bytes, Some("1.30.3"), vec![image]).expect("written");
    assert_eq!((at_its_end, written.manifest.files[0].bytes), (8, 8));
    assert_eq!(written.digest, digest(&bytes));
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(read(&bytes), Ok(written.manifest));
}
