//! The events of one test: recorded as a run is, and shown only where the test does not pass.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use meshproof::provider::fleet::Fleet;
use meshproof::report::console::{Console, Options};
use meshproof::report::journal::Journal;
use meshproof::report::json::FileReport;
use meshproof::report::stream::{Consumer, EventStream};
use meshproof::report::{EventKind, RunOutcome, html};
use meshproof::run::{self, Interruption, Manner, Stage};
use meshproof::scenario::Plan;

use crate::environment::{Error, io_error};

/// How a test ended.
pub(crate) struct Ended {
    pub(crate) outcome: RunOutcome,
    /// What the console would have shown.
    pub(crate) said: String,
    /// Path of the report for people.
    pub(crate) report: Utf8PathBuf,
}

/// Runs a scenario and writes its events, its report and what it leaves for finding causes below `folder`.
pub(crate) async fn run(
    fleet: Fleet,
    environment: &str,
    test: &str,
    plan: &Plan,
    folder: &Utf8Path,
) -> Result<Ended, Error> {
    make_empty(folder)?;
    let interruption = Interruption::listen().map_err(io_error("listen for signals"))?;
    let journal = Journal::begin(folder).map_err(io_error(format!("write below {folder}")))?;
    let report = folder.join("report.html");
    let recorders: Vec<Box<dyn Consumer>> =
        vec![Box::new(journal), Box::new(FileReport::new(report.clone(), html::format))];
    let said = Said::default();
    let options = Options { live: false, colour: false, reports: Vec::new() };
    let console = Console::to_writer(Box::new(said.clone()), options);
    let (events, stream) = EventStream::start(recorders, vec![Box::new(console)]);
    events.send(EventKind::RunStarted {
        run_id: format!("{:08x}", std::process::id()),
        command: format!("cargo test --package scenarios -- --exact '{test}'"),
        environment: environment.to_owned(),
        started: jiff::Timestamp::now().to_string(),
    });
    events.send(EventKind::TopologyKnown { topology: (&plan.topology).into() });
    let name = environment.to_owned();
    let stages = [Stage { name, fleet, topology: Some(plan.topology.name.clone()) }];
    let plans = std::slice::from_ref(plan);
    let outcome = run::run_on_kept(&stages, plans, Manner::default(), folder, &events, &interruption).await;
    let outcome = interruption.outcome().unwrap_or(outcome);
    events.send(EventKind::RunFinished { outcome });
    drop(events);
    let outcome = stream.finish().await.outcome.unwrap_or(RunOutcome::InternalError);
    Ok(Ended { outcome, said: said.text(), report })
}

/// What an earlier run of the test left says nothing of this one.
fn make_empty(folder: &Utf8Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error(format!("empty {folder}"))(error));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(io_error(format!("create {folder}")))
}

/// What was said, for later.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
