//! The folders of runs: `runs/` below the state folder has one for each run, newest last by name, and keeps the newest.
//!
//! A run with `--out` writes there; what `runs/` has of it is a link, so that `meshproof report` finds it. Tidying up
//! removes folders that are named like runs and that no run writes to, and of linked ones the link only.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::event::{Event, EventKind};
use super::journal;

/// Name of the folder below the state folder. No environment may have it.
pub const FOLDER: &str = "runs";
/// How many runs are kept.
pub const KEPT: usize = 20;

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct Runs(Utf8PathBuf);

/// A run that was recorded, or is being recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    /// Name of its entry: when it began, and its id.
    pub name: String,
    /// Where its files are.
    pub path: Utf8PathBuf,
}

impl RunFolder {
    /// Id of the run.
    #[must_use]
    pub fn run_id(&self) -> &str {
        self.name.rsplit('-').next().unwrap_or_default()
    }
}

impl Runs {
    /// Below a state folder; nothing is created yet.
    #[must_use]
    pub fn new(state_root: &Utf8Path) -> Self {
        Self(state_root.join(FOLDER))
    }

    /// Creates the folder of a run that begins now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(&self, run_id: &str, now: Timestamp) -> io::Result<Utf8PathBuf> {
        let folder = self.0.join(name(run_id, now));
        create_private(&folder)?;
        Ok(folder)
    }

    /// Remembers a run that writes elsewhere.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn link(&self, run_id: &str, now: Timestamp, out: &Utf8Path) -> io::Result<()> {
        create_private(&self.0)?;
        std::os::unix::fs::symlink(camino::absolute_utf8(out)?, self.0.join(name(run_id, now)))
    }

    /// Every run that can still be read, newest first.
    ///
    /// # Errors
    /// Those of the file system, but for a folder that is not there.
    pub fn list(&self) -> io::Result<Vec<RunFolder>> {
        let folder = |name: String| RunFolder { path: self.0.join(&name), name };
        Ok(self.names()?.into_iter().map(folder).filter(is_there).map(resolved).collect())
    }

    /// Removes all but the newest; returns what could not be removed, and why.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn tidy(&self, kept: usize) -> io::Result<Vec<(Utf8PathBuf, io::Error)>> {
        let old = self.names()?.into_iter().skip(kept).map(|name| self.0.join(name));
        Ok(old.filter_map(|path| remove(&path).err().map(|error| (path, error))).collect())
    }

    /// Names of entries that are named like runs, newest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match self.0.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_owned();
            if is_name(&name) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|left, right| right.cmp(left));
        Ok(names)
    }
}

/// Open to its owner only: reports name what runs where.
fn create_private(folder: &Utf8Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// `20260821-100000.123-1a2b3c4d`: sorts by time.
fn name(run_id: &str, now: Timestamp) -> String {
    format!("{}-{run_id}", now.strftime("%Y%m%d-%H%M%S.%3f"))
}

fn is_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let [date, time, id] = parts[..] else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.chars().all(|letter| letter.is_ascii_digit());
    let time = time.split_once('.').is_some_and(|(time, millis)| digits(time, 6) && digits(millis, 3));
    digits(date, 8) && time && id.len() == 8 && id.chars().all(|letter| letter.is_ascii_hexdigit())
}

/// Whether the folder has a journal, and it is of this run: a later run may have written into the same `--out`.
fn is_there(folder: &RunFolder) -> bool {
    let Ok(file) = File::open(folder.path.join(journal::FILE)) else { return false };
    let mut first = String::new();
    if io::BufRead::read_line(&mut io::BufReader::new(file), &mut first).is_err() {
        return false;
    }
    match serde_json::from_str::<Event>(&first).map(|event| event.kind) {
        Ok(EventKind::RunStarted { run_id, .. }) => run_id == folder.run_id(),
        _ => false,
    }
}

/// With the place that a link leads to.
fn resolved(folder: RunFolder) -> RunFolder {
    match folder.path.read_link_utf8() {
        Ok(path) => RunFolder { path, ..folder },
        Err(_) => folder,
    }
}

fn remove(path: &Utf8Path) -> io::Result<()> {
    let journal = match File::open(path.join(journal::FILE)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Some(file),
            Err(fs::TryLockError::WouldBlock) => return Ok(()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => return Err(error),
    };
    if path.symlink_metadata()?.is_symlink() {
        return fs::remove_file(path);
    }
    match journal {
        Some(_locked) => fs::remove_dir_all(path),
        // Not known to be a run, or one that could not even begin: only where nothing is lost.
        None => match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::journal::Journal;
    use super::super::stream::Consumer as _;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn begin(folder: &Utf8Path, run_id: &str) -> Journal {
        let mut journal = Journal::begin(folder).expect("begun");
        let kind = EventKind::RunStarted {
            run_id: run_id.into(),
            command: "e2e".into(),
            environment: "e".into(),
            started: String::new(),
        };
        journal.on_event(&Event { elapsed: Duration::ZERO, kind }).expect("written");
        journal
    }

    fn ids(runs: &Runs) -> Vec<String> {
        runs.list().expect("listed").iter().map(|run| run.run_id().to_owned()).collect()
    }

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let root = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let runs = Runs::new(root);
        assert!(runs.list().expect("listed").is_empty());
        let folders: Vec<Utf8PathBuf> =
            (0..4).map(|n| runs.create(&format!("0000000{n}"), at(n)).expect("created")).collect();
        // The oldest is still running.
        let running = begin(&folders[0], "00000000");
        for (n, folder) in folders.iter().enumerate().skip(1) {
            drop(begin(folder, &format!("0000000{n}")));
            fs::create_dir(folder.join("artifacts")).expect("created");
        }
        let foreign = root.join(FOLDER).join("notes");
        fs::create_dir(&foreign).expect("created");
        let unknown = runs.create("deadbeef", at(-9)).expect("created");
        fs::write(unknown.join("precious"), "").expect("written");
        assert!(runs.tidy(2).expect("tidied").is_empty());
        assert_eq!(ids(&runs), ["00000003", "00000002", "00000000"]);
        assert!(foreign.exists() && unknown.join("precious").exists() && !folders[1].exists());
        drop(running);
        assert!(runs.tidy(2).expect("tidied").is_empty());
        assert_eq!(ids(&runs), ["00000003", "00000002"]);
    }

    #[test]
    fn a_run_elsewhere_is_found_until_another_writes_there_and_never_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let (runs, out) = (Runs::new(root), root.join("out"));
        fs::create_dir(&out).expect("created");
        runs.link("0000000a", at(1), &out).expect("linked");
        drop(begin(&out, "0000000a"));
        assert_eq!(runs.list().expect("listed")[0].path, out);
        runs.link("0000000b", at(2), &out).expect("linked");
        drop(begin(&out, "0000000b"));
        assert_eq!(ids(&runs), ["0000000b"]);
        assert!(runs.tidy(0).expect("tidied").is_empty());
        assert!(ids(&runs).is_empty());
        assert!(out.join(journal::FILE).exists());
    }

    #[test]
    fn only_names_of_runs_are_names_of_runs() {
        assert!(is_name(&name("1a2b3c4d", at(0))));
        for other in ["notes", "..", "20260821-100000.123-", "20260821-100000.123-1a2b3c4d-x", "2026-1-1"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
