//! `meshproof report durations`: how long scenarios and bring-ups took, as `--shard` divides by.

use camino::Utf8Path;

use super::report::{complain, folders, read, unreadable};
use crate::cli::args::Selection;
use crate::cli::report::DurationsArgs;
use crate::cli::{files, plan, shards};
use crate::report::json::write_whole;
use crate::report::{Record, RunOutcome};
use crate::shard::durations::{self, Durations};

/// Runs the command.
pub(super) fn run(args: &DurationsArgs) -> Result<RunOutcome, RunOutcome> {
    let mut records: Vec<Record> = Vec::new();
    for named in &args.folders {
        for folder in folders(named).map_err(|error| unreadable(named, &error))? {
            records.push(read(&folder).map_err(|error| unreadable(&folder, &error))?);
        }
    }
    let recorded = durations::recorded(&records);
    if recorded.scenario_ms.is_empty() {
        let message = "no scenario passed in the runs of these folders";
        return Err(complain(message, "name folders that runs wrote with --out", RunOutcome::NothingSelected));
    }
    let counted = (recorded.scenario_ms.len(), recorded.bring_up_ms.len());
    match args.out.as_deref() {
        None => crate::cli::print(&text(&recorded)?),
        Some(out) => {
            write(out, &text(&of_catalogue(known(out)?.updated(recorded), args.root.as_deref())?)?)?;
            let (scenarios, topologies) = counted;
            crate::cli::print(&format!("wrote {out}: {scenarios} scenarios and {topologies} bring-ups are new\n"));
        }
    }
    Ok(RunOutcome::Passed)
}

/// What the file has so far.
fn known(out: &Utf8Path) -> Result<Durations, RunOutcome> {
    if !out.exists() {
        return Ok(Durations::default());
    }
    shards::read(Some(out), None).map_err(|error| {
        let help = "remove the file, or name another one with --out";
        complain(&crate::cluster::chain(&error), help, RunOutcome::WrongUsage)
    })
}

/// Without what the catalogue no longer has.
fn of_catalogue(mut durations: Durations, root: Option<&Utf8Path>) -> Result<Durations, RunOutcome> {
    let selection = Selection { root: root.map(ToOwned::to_owned), ..Selection::default() };
    let plans = files::select(&selection).map_err(|error| plan::refuse(&error))?.plans;
    durations.scenario_ms.retain(|name, _| plans.iter().any(|plan| plan.name == *name));
    durations.bring_up_ms.retain(|name, _| plans.iter().any(|plan| plan.topology.name == *name));
    Ok(durations)
}

fn text(durations: &Durations) -> Result<String, RunOutcome> {
    durations.text().map_err(|error| super::complain(&error, RunOutcome::InternalError))
}

fn write(out: &Utf8Path, text: &str) -> Result<(), RunOutcome> {
    write_whole(out, text.as_bytes()).map_err(|error| {
        complain(&format!("cannot write {out}: {error}"), "name another file with --out", RunOutcome::EnvironmentFailed)
    })
}
