//! Files of a host as the engine takes them: an archive that is unpacked at `/`. Pure.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::machine::MachineFile;
use tar::{Builder, EntryType, Header};

/// Folders of a disk, with those above them.
pub(super) fn folders(directories: &[Utf8PathBuf]) -> Vec<u8> {
    files(directories, &[])
}

/// Files and all folders above them. Everything belongs to root, who is the only one on a host.
pub(super) fn files(directories: &[Utf8PathBuf], files: &[&MachineFile]) -> Vec<u8> {
    let above = files.iter().filter_map(|file| file.path.parent());
    let mut folders: BTreeSet<&Utf8Path> = directories.iter().map(Utf8PathBuf::as_path).chain(above).collect();
    let ancestors: Vec<&Utf8Path> = folders.iter().flat_map(|folder| folder.ancestors().skip(1)).collect();
    folders.extend(ancestors);
    let mut archive = Builder::new(Vec::new());
    for folder in folders.into_iter().filter(|folder| *folder != "/") {
        append(&mut archive, folder, 0o755, EntryType::Directory, b"");
    }
    for file in files {
        append(&mut archive, &file.path, file.mode, EntryType::Regular, file.content.as_bytes());
    }
    archive.into_inner().expect("invariant: a Vec takes every write")
}

fn append(archive: &mut Builder<Vec<u8>>, path: &Utf8Path, mode: u32, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    let inside = path.as_str().trim_start_matches('/');
    archive.append_data(&mut header, inside, content).expect("invariant: a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let file = MachineFile { path: "/etc/keys/deep/key".into(), mode: 0o600, content: "secret".to_owned() };
        let bytes = files(&["/etc/keys".into(), "/var/data".into()], &[&file]);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.uid().unwrap(), entry.size())
        });
        let entries: Vec<_> = entries.collect();
        let folder = |path: &str| (path.to_owned(), 0o755, 0, 0);
        let expected = [
            folder("etc"),
            folder("etc/keys"),
            folder("etc/keys/deep"),
            folder("var"),
            folder("var/data"),
            ("etc/keys/deep/key".to_owned(), 0o600, 0, 6),
        ];
        assert_eq!(entries, expected);
    }
}
