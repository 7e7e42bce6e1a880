//! `report.json`: the record of a run, for programs. Its schema is generated into `schemas/report.json`.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::event::{Event, EventKind};
use super::record::Record;
use super::stream::Consumer;

/// Turns a record into the bytes of a report file.
pub type Format = fn(&Record) -> io::Result<Vec<u8>>;

/// Writes a report file when the run has ended.
pub struct FileReport {
    path: Utf8PathBuf,
    format: Format,
    record: Record,
}

impl FileReport {
    /// A report at `path`, whose folder must exist by the end of the run.
    #[must_use]
    pub fn new(path: Utf8PathBuf, format: Format) -> Self {
        Self { path, format, record: Record::default() }
    }
}

impl Consumer for FileReport {
    fn name(&self) -> String {
        self.path.to_string()
    }

    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        self.record.add(event);
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            write_whole(&self.path, &(self.format)(&self.record)?)?;
        }
        Ok(())
    }
}

/// Writes beside the target first, so that no reader ever sees half of a file; what could not be written is not left.
pub(crate) fn write_whole(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_file_name(format!("{}.partial", path.file_name().unwrap_or("report")));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one that counts.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// The record as indented JSON.
///
/// # Errors
/// Never in practice: a record has nothing that JSON cannot hold.
pub fn format(record: &Record) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}
