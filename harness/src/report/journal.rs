//! `events.jsonl`: every event of a run, one JSON document a line, written while it happens.
//!
//! The file is locked for as long as the run lasts: whoever tidies up runs leaves it alone then. A run that is killed
//! leaves every event before its end, at worst with half a line, which readers leave out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::event::Event;
use super::stream::Consumer;

/// Name of the file in the folder of a run.
pub const FILE: &str = "events.jsonl";

/// Name of the file of single requests beside it, which the engine writes.
pub const SAMPLES: &str = "samples.jsonl.gz";

/// Writes the journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    file: File,
}

impl Journal {
    /// Begins a journal in a folder that exists.
    ///
    /// # Errors
    /// Those of the file system; `WouldBlock` where another run writes there.
    pub fn begin(folder: &Utf8Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        // Truncated only once it is ours: another run may be writing into the same folder.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.try_lock()?;
        file.set_len(0)?;
        // That of an earlier run goes with its journal.
        match std::fs::remove_file(folder.join(SAMPLES)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self { path, file }),
        }
    }
}

impl Consumer for Journal {
    fn name(&self) -> String {
        self.path.to_string()
    }

    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event).map_err(io::Error::other)?;
        line.push(b'\n');
        // One write a line: nothing is buffered, so whoever follows the file sees whole events.
        self.file.write_all(&line)
    }
}

/// Reads a journal. A line that was cut by the death of its run, or is not known to this version, is left out and counted.
///
/// # Errors
/// Those of the file system.
pub fn read(folder: &Utf8Path) -> io::Result<(Vec<Event>, usize)> {
    Ok(parse(&String::from_utf8_lossy(&std::fs::read(folder.join(FILE))?)))
}

fn parse(text: &str) -> (Vec<Event>, usize) {
    let mut events = Vec::new();
    let mut unreadable = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) => unreadable += 1,
        }
    }
    (events, unreadable)
}

/// Whether a run is writing the journal of a folder at this moment.
///
/// # Errors
/// Those of the file system.
pub fn in_progress(folder: &Utf8Path) -> io::Result<bool> {
    match File::open(folder.join(FILE))?.try_lock() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::EventKind;

    fn event(message: &str) -> Event {
        let kind = EventKind::Warning { message: message.to_owned(), cure: None };
        Event { elapsed: Duration::from_millis(7), kind }
    }

    #[test]
    fn events_are_there_at_once_and_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let mut journal = Journal::begin(folder).expect("begun");
        for message in ["one", "two\nlines"] {
            journal.on_event(&event(message)).expect("written");
        }
        assert_eq!(read(folder).expect("read"), (vec![event("one"), event("two\nlines")], 0));
        assert!(in_progress(folder).expect("asked"));
        assert!(Journal::begin(folder).is_err(), "a folder has one run at a time");
        assert_eq!(read(folder).expect("read").0.len(), 2, "and the refused one changed nothing");
        drop(journal);
        assert!(!in_progress(folder).expect("asked"));
        std::fs::write(folder.join(SAMPLES), "of this run").expect("written");
        Journal::begin(folder).expect("begun");
        assert!(!folder.join(SAMPLES).exists(), "another run's requests are not added to");
    }

    #[test]
    fn a_line_that_was_cut_costs_that_line_only() {
        let line = serde_json::to_string(&event("whole")).expect("JSON");
        let (events, unreadable) = parse(&format!("{line}\n{}", &line[..line.len() - 5]));
        assert_eq!((events.len(), unreadable), (1, 1));
    }
}
