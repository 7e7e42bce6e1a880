//! A run that reports: its id, its folder, its consumers, its signals; from the first event to the last.

use camino::{Utf8Path, Utf8PathBuf};

use super::complain;
use crate::environment::state_root;
use crate::report::console::{Console, Options};
use crate::report::json::{self, FileReport};
use crate::report::stream::{Consumer, EventSender, EventStream};
use crate::report::{EventKind, RunOutcome, junit};
use crate::run::Interruption;

/// Where reports go when nobody says.
const DEFAULT_OUT: &str = "target/meshproof";

/// Which reports a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// junit.xml and report.json.
    Files,
    /// What is on the console only.
    None,
}

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
        let state_root = state_root().map_err(|message| {
            eprintln!("error: {message}");
            RunOutcome::EnvironmentFailed
        })?;
        let out = out.map_or_else(|| Utf8Path::new(DEFAULT_OUT).join(&run_id), Utf8Path::to_owned);
        if reports == Reports::Files {
            create(&out)?;
        }
        let interruption = Interruption::listen().map_err(|error| complain(&error, RunOutcome::EnvironmentFailed))?;
        let (events, stream) = EventStream::start(consumers(&out, reports));
        events.send(EventKind::RunStarted {
            run_id: run_id.clone(),
            command: command.to_owned(),
            environment: environment.to_owned(),
            started: jiff::Timestamp::now().to_string(),
        });
        Ok(Self { run_id, out, state_root, events, interruption, stream })
    }

    /// Tells how the run ended and waits until every report is written.
    pub(super) async fn finish(self, outcome: RunOutcome) -> RunOutcome {
        let outcome = self.interruption.outcome().unwrap_or(outcome);
        self.events.send(EventKind::RunFinished { outcome });
        drop(self.events);
        let mut outcome = outcome;
        for (name, error) in self.stream.finish().await {
            // Without its report a run that passed is worth nothing to whoever reads the report.
            eprintln!("error: cannot write {name}: {error}");
            outcome = outcome.worse(RunOutcome::EnvironmentFailed);
        }
        outcome
    }
}

fn create(out: &Utf8Path) -> Result<(), RunOutcome> {
    std::fs::create_dir_all(out).map_err(|error| {
        eprintln!("error: cannot create {out}: {error}");
        eprintln!("  help: choose another folder with --out");
        RunOutcome::EnvironmentFailed
    })
}

/// The files come before the console, whose last lines name them.
fn consumers(out: &Utf8Path, reports: Reports) -> Vec<Box<dyn Consumer>> {
    let mut options = Options::detect();
    let mut consumers: Vec<Box<dyn Consumer>> = Vec::new();
    if reports == Reports::Files {
        let junit_path = out.join("junit.xml");
        let json_path = out.join("report.json");
        options.reports.push(("JUnit report".to_owned(), junit_path.to_string()));
        options.reports.push(("JSON report".to_owned(), json_path.to_string()));
        consumers.push(Box::new(FileReport::new(junit_path, junit::format)));
        consumers.push(Box::new(FileReport::new(json_path, json::format)));
    }
    consumers.push(Box::new(Console::standard(options)));
    consumers
}
