//! Keeps single requests: each with its source, its times and what came of it, in `samples.jsonl.gz` beside the reports.
//!
//! A line is what one source sent in one step, in the compact form of the probe: `rows` of numbers under `columns`, where
//! `target` is an index into `targets`. A measurement keeps its first requests, and a run so many in all; what is more is
//! counted only. Each line is a compressed member of its own, so that a run that is killed leaves all before its end.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::check::observation::OfSource;
use crate::report::event::EventKind;
use crate::report::figures::Kept;
use crate::report::journal::SAMPLES;
use crate::report::redact;
use crate::report::stream::EventSender;
use crate::scenario::plan::Traffic;
use crate::traffic::timeline::Timeline;

/// Requests of one source in one step that are kept.
pub(super) const MOST_OF_A_STEP: u32 = 20_000;
/// Requests of a run in one environment that are kept: some ten megabytes.
const MOST_OF_A_RUN: u64 = 2_000_000;
/// Names of the numbers of a row.
const COLUMNS: [&str; 6] = ["intended", "sent", "firstByte", "done", "target", "connection"];

/// The file of a run.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    path: Utf8PathBuf,
    room: Arc<AtomicU64>,
}

impl Keeper {
    /// Keeps requests in a folder, which exists by the time of the first.
    pub(super) fn new(folder: &Utf8Path) -> Self {
        Self { path: folder.join(SAMPLES), room: Arc::new(AtomicU64::new(MOST_OF_A_RUN)) }
    }

    /// Keeps what a source sent in a step, as far as there is room; `None` where none of it is known. What takes time is
    /// done beside the caller's task, from the requests as they are: they are many, and others have to be asked meanwhile.
    pub(super) async fn keep(
        &self,
        (scenario, step): (&str, &str),
        traffic: &Traffic,
        of: &OfSource,
        events: &EventSender,
    ) -> Option<Kept> {
        let timeline = Arc::clone(of.samples.timeline.as_ref()?);
        let (rows, dropped) = (timeline.rows.len() as u64, timeline.dropped);
        let kept = self.take(rows);
        let line = Line {
            head: head((scenario, step), traffic, of),
            timeline,
            kept: usize::try_from(kept).unwrap_or(usize::MAX),
            dropped: dropped + (rows - kept),
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || append(&path, &line.text()));
        match written.await.map_err(io::Error::other).and_then(|written| written) {
            Ok(is_first) => {
                if is_first {
                    let what = "single requests".to_owned();
                    events.send(EventKind::FileWritten { what, path: self.path.to_string() });
                }
                Some(Kept { kept, dropped: dropped + (rows - kept) })
            }
            Err(error) => {
                events.warn(format!("cannot keep single requests in {}: {error}", self.path), None);
                Some(Kept { kept: 0, dropped: dropped + rows })
            }
        }
    }

    /// How many of so many there is room for.
    fn take(&self, wanted: u64) -> u64 {
        let mut taken = 0;
        let less = |room: u64| {
            taken = room.min(wanted);
            Some(room - taken)
        };
        // The closure always gives a value.
        let _ = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken
    }
}

/// What is written of one source in one step.
struct Line {
    head: Value,
    timeline: Arc<Timeline>,
    kept: usize,
    dropped: u64,
}

/// Who sent what, before its single requests.
fn head((scenario, step): (&str, &str), traffic: &Traffic, OfSource { source, samples }: &OfSource) -> Value {
    json!({
        "scenario": scenario,
        "step": step,
        "from": {
            "cluster": source.cluster, "namespace": source.namespace, "workload": source.name,
            "pod": samples.source.pod,
        },
        "url": traffic.url,
        "protocol": traffic.protocol,
        "startUnixMicros": samples.start_unix_micros,
        "columns": COLUMNS,
    })
}

impl Line {
    fn text(self) -> String {
        let Self { head: mut document, timeline, kept, dropped } = self;
        document["targets"] = json!(timeline.targets);
        document["dropped"] = json!(dropped);
        redact::document(&mut document);
        // Numbers hold no secrets, and there are many.
        document["rows"] = json!(timeline.rows[..kept.min(timeline.rows.len())]);
        format!("{document}\n")
    }
}

/// Adds a line; tells whether it is the first, also where several environments write into one file.
fn append(path: &Utf8Path, line: &str) -> io::Result<bool> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(line.as_bytes())?;
    let member = encoder.finish()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let (mut file, is_first) = match options.append(true).create_new(true).open(path) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.create_new(false).open(path)?, false),
        Err(error) => return Err(error),
    };
    // One write: lines of scenarios that run at once do not mix.
    file.write_all(&member)?;
    Ok(is_first)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::topology::Workload;
    use crate::traffic::probe::{Group, Protocol, Samples};
    use crate::traffic::timeline::{Row, Target};

    fn traffic() -> Traffic {
        Traffic {
            from: vec![Workload::client("cluster1")],
            workers: None,
            url: "http://echo:8080/".to_owned(),
            protocol: Protocol::Http1,
            hop: None,
            method: None,
            body: None,
            headers: [].into(),
            requests: 3,
            early_stop: false,
            connections: 1,
            new_connection_per_request: false,
            rate: None,
            timeout: Duration::from_secs(1),
            expectations: Vec::new(),
        }
    }

    fn of_source(rows: u64) -> OfSource {
        let answer = Group { status: 200, peer: Some("spiffe://a".to_owned()), ..Group::default() };
        let rows = (0..rows).map(|index| Row(index, 1, Some(2), 3, 0, Some(0))).collect();
        let timeline = Timeline { targets: vec![Target { error: None, answer }], rows, dropped: 4 };
        OfSource {
            source: Workload::client("cluster1"),
            samples: Samples { timeline: Some(timeline.into()), start_unix_micros: 7, ..Samples::default() },
        }
    }

    fn lines(path: &Utf8Path) -> Vec<Value> {
        let mut text = String::new();
        let file = std::fs::File::open(path).expect("written");
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[tokio::test]
    async fn a_run_keeps_what_it_has_room_for_and_says_what_it_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8").join("reports");
        let (events, mut receiver) = EventSender::channel();
        let keeper = Keeper { room: Arc::new(AtomicU64::new(5)), ..Keeper::new(&folder) };
        let keep = async |rows| keeper.keep(("shift", "4"), &traffic(), &of_source(rows), &events).await;
        assert_eq!(keep(3).await, Some(Kept { kept: 3, dropped: 4 }));
        assert_eq!(keep(3).await, Some(Kept { kept: 2, dropped: 5 }));
        assert_eq!(keep(3).await, Some(Kept { kept: 0, dropped: 7 }));
        let lines = lines(&folder.join(SAMPLES));
        let rows: Vec<usize> = lines.iter().map(|line| line["rows"].as_array().expect("rows").len()).collect();
        assert_eq!(rows, [3, 2, 0]);
        assert_eq!(lines[0]["from"]["cluster"], "cluster1");
        assert_eq!(lines[0]["targets"][0]["peer"], "spiffe://a");
        assert_eq!(lines[0]["rows"][1], json!([1, 1, 2, 3, 0, 0]));
        drop(events);
        let mut told = 0;
        while let Some(event) = receiver.recv().await {
            told += usize::from(matches!(event.kind, EventKind::FileWritten { .. }));
        }
        assert_eq!(told, 1, "the file is named once");
    }

    #[tokio::test]
    async fn environments_of_one_run_share_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let (events, mut receiver) = EventSender::channel();
        for keeper in [Keeper::new(folder), Keeper::new(folder)] {
            keeper.keep(("shift", "4"), &traffic(), &of_source(1), &events).await;
        }
        drop(events);
        assert!(receiver.recv().await.is_some() && receiver.recv().await.is_none(), "it is named once");
        assert_eq!(lines(&folder.join(SAMPLES)).len(), 2);
    }

    #[tokio::test]
    async fn what_was_not_listed_is_not_kept() {
        let (events, _receiver) = EventSender::channel();
        let keeper = Keeper::new(Utf8Path::new("/nowhere"));
        let of = OfSource { source: Workload::client("cluster1"), samples: Samples::default() };
        assert_eq!(keeper.keep(("a", "1"), &traffic(), &of, &events).await, None);
    }
}
