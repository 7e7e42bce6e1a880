//! Writes the files of a volume so that a reader sees either all old or all new ones.
//!
//! The layout is Kubernetes' own, because programs watch for it: files live in a directory with a time stamp,
//! `..data` is a symbolic link to it that is replaced by rename, and every name in the volume links into `..data`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use jiff::Timestamp;

use super::payload::Payload;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes `directory` show exactly `payload`.
///
/// # Errors
/// Those of the file system; what was there before is still complete then.
pub(super) fn write(directory: &Path, payload: &Payload) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let previous = fs::read_link(directory.join(DATA)).ok();
    let fresh = format!("..{}", Timestamp::now().as_nanosecond());
    let folder = directory.join(&fresh);
    fs::create_dir(&folder)?;
    for (path, file) in payload {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    let next = directory.join(NEXT);
    // Left over only by a writer that was interrupted.
    let _absent = fs::remove_file(&next);
    symlink(&fresh, &next)?;
    fs::rename(&next, directory.join(DATA))?;
    link_names(directory, payload)?;
    if let Some(previous) = previous {
        fs::remove_dir_all(directory.join(previous))?;
    }
    Ok(())
}

/// Links every first path component into `..data`, and removes the links of names that are gone.
fn link_names(directory: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("..") || names.contains(name));
        if !is_ours {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o640 };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn an_update_swaps_everything_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        write(&volume, &payload(&[("a", "1"), ("nested/b", "1"), ("gone", "x")])).unwrap();
        let data = fs::read_link(volume.join(DATA)).unwrap();
        write(&volume, &payload(&[("a", "2"), ("nested/b", "2"), ("new", "y")])).unwrap();
        let read = |path: &str| fs::read_to_string(volume.join(path));
        assert_eq!(
            (read("a").unwrap(), read("nested/b").unwrap(), read("new").unwrap()),
            ("2".into(), "2".into(), "y".into())
        );
        assert!(read("gone").is_err());
        assert!(!volume.join(&data).exists(), "the old files are removed");
        assert_ne!(fs::read_link(volume.join(DATA)).unwrap(), data);
        assert_eq!(fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
