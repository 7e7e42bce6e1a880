//! `meshproof report`: recorded runs, listed, summed up, opened, or written in another form.

use std::io;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::last_failed::not_passed;
use super::session::FILES;
use super::{durations, merge};
use crate::cli::report::{ReportArgs, ReportFormat, Several};
use crate::environment::state_root;
use crate::report::console::{Options, recorded};
use crate::report::runs::{self, RunFolder, Runs};
use crate::report::{Record, RunOutcome, html, journal, json, junit};

pub(super) fn run(args: &ReportArgs) -> RunOutcome {
    let done = match &args.several {
        Some(Several::Merge(args)) => merge::run(args),
        Some(Several::Durations(args)) => durations::run(args),
        None if args.list => list(args.format),
        None => show(args),
    };
    done.unwrap_or_else(|outcome| outcome)
}

fn list(format: ReportFormat) -> Result<RunOutcome, RunOutcome> {
    let (place, runs) = all()?;
    let read: Vec<(RunFolder, Record)> = runs
        .into_iter()
        .filter_map(|run| Some((read(&run.path).ok()?, run)))
        .map(|(record, run)| (run, record))
        .collect();
    match format {
        ReportFormat::Json => crate::cli::print(&format!("{:#}\n", listed(&read))),
        ReportFormat::Text if read.is_empty() => crate::cli::print(&format!("no run is recorded in {place}\n")),
        ReportFormat::Text => crate::cli::print(&read.iter().map(|(run, record)| row(run, record)).collect::<String>()),
        ReportFormat::Junit | ReportFormat::Html => {
            eprintln!("error: a list is text or JSON\n  help: leave --list out to get the report of a run");
            return Err(RunOutcome::WrongUsage);
        }
    }
    Ok(RunOutcome::Passed)
}

fn listed(runs: &[(RunFolder, Record)]) -> serde_json::Value {
    let runs: Vec<_> = runs
        .iter()
        .map(|(run, record)| {
            json!({
                "runId": record.run_id, "command": record.command, "environment": record.environment,
                "started": record.started, "outcome": record.outcome, "exitCode": record.exit_code,
                "folder": run.path, "notPassed": not_passed(record),
            })
        })
        .collect();
    json!({ "runs": runs })
}

fn row(run: &RunFolder, record: &Record) -> String {
    let word = state(&run.path, record);
    let started = record.started.get(..19).unwrap_or(&record.started);
    format!("{}  {started}  {:4}  {:24}  {word}\n", record.run_id, record.command, record.environment)
}

/// How a run ended, or that it did not.
fn state(folder: &Utf8Path, record: &Record) -> String {
    match record.outcome {
        Some(outcome) => format!("{} (exit {})", outcome.meaning(), outcome.exit_code()),
        None if journal::in_progress(folder).unwrap_or(false) => "in progress".to_owned(),
        None => "killed before its end".to_owned(),
    }
}

fn show(args: &ReportArgs) -> Result<RunOutcome, RunOutcome> {
    let folder = find(args.run.as_deref())?;
    let record = read(&folder).map_err(|error| unreadable(&folder, &error))?;
    if args.open {
        return open(&folder, &record);
    }
    let made = match args.format {
        ReportFormat::Text => Ok(text(&folder, &record).into_bytes()),
        ReportFormat::Json => json::format(&record),
        ReportFormat::Junit => junit::format(&record),
        ReportFormat::Html => html::format(&record),
    };
    let made = made.map_err(|error| unreadable(&folder, &error))?;
    crate::cli::print(&String::from_utf8_lossy(&made));
    Ok(RunOutcome::Passed)
}

fn text(folder: &Utf8Path, record: &Record) -> String {
    let there = FILES.iter().filter(|(_, name, _)| folder.join(name).exists());
    let reports: Vec<(String, String)> =
        there.map(|(what, name, _)| ((*what).to_owned(), folder.join(name).into_string())).collect();
    let head = format!(
        "meshproof {}  environment {}, run {}, {}: {}\n{folder}\n",
        record.command,
        record.environment,
        record.run_id,
        record.started,
        state(folder, record)
    );
    head + &recorded(record, &reports, Options::detect().colour)
}

/// Opens the page, which is made where the run did not write one.
fn open(folder: &Utf8Path, record: &Record) -> Result<RunOutcome, RunOutcome> {
    let path = folder.join("report.html");
    if !path.exists() {
        let made = html::format(record).and_then(|page| std::fs::write(&path, page));
        made.map_err(|error| {
            complain(&format!("cannot write {path}: {error}"), "make room there", RunOutcome::EnvironmentFailed)
        })?;
    }
    crate::cli::print(&format!("{path}\n"));
    let opened =
        Command::new("xdg-open").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let why = match opened {
        Ok(status) if status.success() => return Ok(RunOutcome::Passed),
        Ok(status) => format!("`xdg-open` ended with {status}"),
        Err(error) => format!("cannot start `xdg-open`: {error}"),
    };
    Err(complain(
        &format!("the page could not be opened: {why}"),
        &format!("open {path} with a browser"),
        RunOutcome::EnvironmentFailed,
    ))
}

fn find(wanted: Option<&str>) -> Result<Utf8PathBuf, RunOutcome> {
    if let Some(folder) = wanted.map(Utf8PathBuf::from).filter(|folder| folder.join(journal::FILE).is_file()) {
        return Ok(folder);
    }
    let (place, runs) = all()?;
    let Some(wanted) = wanted else {
        let help = "`meshproof e2e` records one";
        let newest = runs.into_iter().next().map(|run| run.path);
        return newest
            .ok_or_else(|| complain(&format!("no run is recorded in {place}"), help, RunOutcome::NothingSelected));
    };
    let is_it = |run: &&RunFolder| run.name == wanted || (wanted.len() >= 2 && run.run_id().starts_with(wanted));
    let found: Vec<&RunFolder> = runs.iter().filter(is_it).collect();
    match found[..] {
        [run] => Ok(run.path.clone()),
        [] => Err(complain(
            &format!("no recorded run has the id {wanted}, and it is no folder of a run"),
            "`meshproof report --list` lists them",
            RunOutcome::WrongUsage,
        )),
        _ => Err(complain(
            &format!("the ids of {} runs begin with {wanted}", found.len()),
            "write more of it",
            RunOutcome::WrongUsage,
        )),
    }
}

/// The folder of all runs, and the runs, newest first.
pub(super) fn all() -> Result<(Utf8PathBuf, Vec<RunFolder>), RunOutcome> {
    let root = state_root().map_err(|message| {
        eprintln!("error: {message}");
        RunOutcome::EnvironmentFailed
    })?;
    let place = root.join(runs::FOLDER);
    let runs = Runs::new(&root).list().map_err(|error| unreadable(&place, &error))?;
    Ok((place, runs))
}

pub(super) fn read(folder: &Utf8Path) -> io::Result<Record> {
    let (mut record, unreadable) = read_counted(folder)?;
    if unreadable > 0 {
        record
            .warnings
            .push(format!("{unreadable} lines of {} could not be read and were left out", folder.join(journal::FILE)));
    }
    Ok(record)
}

/// What a run recorded, and how many lines of that could not be read.
pub(super) fn read_counted(folder: &Utf8Path) -> io::Result<(Record, usize)> {
    let (events, unreadable) = journal::read(folder)?;
    let mut record = Record::default();
    events.iter().for_each(|event| record.add(event));
    Ok((record, unreadable))
}

/// Folders of runs: each that is named, or those below it. None is below another.
pub(super) fn folders(named: &Utf8Path) -> io::Result<Vec<Utf8PathBuf>> {
    if named.join(journal::FILE).is_file() {
        return Ok(vec![named.to_owned()]);
    }
    let mut below = named.read_dir_utf8()?.collect::<io::Result<Vec<_>>>()?;
    below.sort_by(|left, right| left.path().cmp(right.path()));
    // A link could lead back.
    let inner = below.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    inner.map(|entry| folders(entry.path())).collect::<io::Result<Vec<_>>>().map(|all| all.concat())
}

pub(super) fn unreadable(path: &Utf8Path, error: &io::Error) -> RunOutcome {
    complain(
        &format!("cannot read {path}: {error}"),
        "`meshproof report --list` lists the runs that can be read",
        RunOutcome::EnvironmentFailed,
    )
}

pub(super) fn complain(message: &str, help: &str, outcome: RunOutcome) -> RunOutcome {
    eprintln!("error: {message}\n  help: {help}");
    outcome
}
