//! A run that reports: its id, its folder, its consumers, its signals; from the first event to the last.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::{complain, root};
use crate::report::console::{Console, Options};
use crate::report::journal::{self, Journal};
use crate::report::json::{self, FileReport, Format};
use crate::report::runs::{self, KEPT, Runs};
use crate::report::stream::{Consumer, EventSender, EventStream};
use crate::report::summary::{self, JobSummary};
use crate::report::{EventKind, RunOutcome, html, junit};
use crate::run::Interruption;

/// Which reports a command writes besides the journal of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// report.html, junit.xml, report.json, and the summary of the job on GitHub.
    Files,
    /// None.
    None,
}

/// The report files of a run: what each is, its name, and how it is written.
pub(super) const FILES: [(&str, &str, Format); 3] = [
    ("report", "report.html", html::format),
    ("JUnit report", "junit.xml", junit::format),
    ("JSON report", "report.json", json::format),
];

/// What a command needs to know of its run.
pub(super) struct Session {
    /// Unique id.
    pub(super) run_id: String,
    /// Folder of the reports; exists.
    pub(super) out: Utf8PathBuf,
    /// State folder of all environments.
    pub(super) state_root: Utf8PathBuf,
    /// Where to tell what happens.
    pub(super) events: EventSender,
    /// Whether the user wants the run to end.
    pub(super) interruption: Interruption,
    stream: EventStream,
}

/// A new id of a run: short, for it becomes part of names and paths.
pub(super) fn new_run_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(8);
    id
}

impl Session {
    /// Prepares the folder, the consumers and the signals, and tells that the run started.
    ///
    /// # Errors
    /// The exit code, after it was said why.
    pub(super) fn start(
        command: &str,
        run_id: String,
        environment: &str,
        out: Option<&Utf8Path>,
        reports: Reports,
    ) -> Result<Self, RunOutcome> {
        let state_root = root()?;
        let now = jiff::Timestamp::now();
        let runs = Runs::new(&state_root);
        let out = match out {
            Some(out) => create(out).map(|()| out.to_owned())?,
            None => runs.create(&run_id, now).map_err(|error| cannot_create(&state_root.join(runs::FOLDER), &error))?,
        };
        let journal = Journal::begin(&out).map_err(|error| cannot_record(&out, &error))?;
        let interruption = Interruption::listen().map_err(|error| complain(&error, RunOutcome::EnvironmentFailed))?;
        let (recorders, console) = consumers(&out, reports, journal);
        let (events, stream) = EventStream::start(recorders, vec![Box::new(console)]);
        events.send(EventKind::RunStarted {
            run_id: run_id.clone(),
            command: command.to_owned(),
            environment: environment.to_owned(),
            started: now.to_string(),
        });
        let version = env!("CARGO_PKG_VERSION").to_owned();
        events.send(EventKind::VersionsKnown { versions: [("meshproof".to_owned(), version)].into() });
        let given = state_root.join(runs::FOLDER);
        let linked = if out.starts_with(&given) { Ok(()) } else { runs.link(&run_id, now, &out) };
        tidy(&runs, linked, &events);
        Ok(Self { run_id, out, state_root, events, interruption, stream })
    }

    /// Tells how the run ended and waits until every report is written.
    pub(super) async fn finish(self, outcome: RunOutcome) -> RunOutcome {
        let outcome = self.interruption.outcome().unwrap_or(outcome);
        self.events.send(EventKind::RunFinished { outcome });
        drop(self.events);
        let ended = self.stream.finish().await;
        let mut outcome = ended.outcome.unwrap_or(outcome.worse(RunOutcome::InternalError));
        for (name, error) in ended.mute {
            eprintln!("error: cannot write {name}: {error}");
            outcome = outcome.worse(RunOutcome::EnvironmentFailed);
        }
        outcome
    }
}

fn create(out: &Utf8Path) -> Result<(), RunOutcome> {
    std::fs::create_dir_all(out).map_err(|error| cannot_create(out, &error))
}

fn cannot_create(folder: &Utf8Path, error: &io::Error) -> RunOutcome {
    eprintln!("error: cannot create {folder}: {error}");
    eprintln!("  help: choose another folder with --out, or set MESHPROOF_STATE_DIR");
    RunOutcome::EnvironmentFailed
}

fn cannot_record(out: &Utf8Path, error: &io::Error) -> RunOutcome {
    if error.kind() == io::ErrorKind::WouldBlock {
        eprintln!("error: another run writes its reports to {out}");
        eprintln!("  help: wait until it has ended, or choose another folder with --out");
        return RunOutcome::WrongUsage;
    }
    eprintln!("error: cannot write {}: {error}", out.join(journal::FILE));
    eprintln!("  help: choose another folder with --out");
    RunOutcome::EnvironmentFailed
}

/// Removes the oldest runs. That this does not work, or that this run will not be found again, is no reason not to run.
fn tidy(runs: &Runs, linked: io::Result<()>, events: &EventSender) {
    if let Err(error) = linked {
        events.warn(format!("`meshproof report` will not find this run: {error}"), None);
    }
    let left = runs.tidy(KEPT).unwrap_or_else(|error| vec![("the folder of runs".into(), error)]);
    for (path, error) in left {
        events.warn(format!("an old run could not be removed: {path}: {error}"), Some("remove it by hand".to_owned()));
    }
}

/// Those that write, the journal first, and the console, whose last lines name their files.
fn consumers(out: &Utf8Path, reports: Reports, journal: Journal) -> (Vec<Box<dyn Consumer>>, Console) {
    let mut options = Options::detect();
    let mut recorders: Vec<Box<dyn Consumer>> = vec![Box::new(journal)];
    if reports == Reports::Files {
        for (what, name, format) in FILES {
            options.reports.push((what.to_owned(), out.join(name).to_string()));
            recorders.push(Box::new(FileReport::new(out.join(name), format)));
        }
        // Last: unlike a file it cannot be written again when one of the others fails.
        let summary = summary::file_of_job().map(|path| Box::new(JobSummary::new(path)) as Box<dyn Consumer>);
        recorders.extend(summary);
    }
    (recorders, Console::standard(options))
}
