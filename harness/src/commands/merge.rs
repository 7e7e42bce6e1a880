//! `meshproof report merge`: one report of all shards.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::report::{complain, folders, read_counted, unreadable};
use super::session::FILES;
use crate::cli::report::MergeArgs;
use crate::report::console::{Options, recorded};
use crate::report::json::write_whole;
use crate::report::merge::{Refusal, Source, merge};
use crate::report::{Record, RunOutcome, journal, summary};

/// Runs the command; the outcome is that of the worst shard.
pub(super) fn run(args: &MergeArgs) -> Result<RunOutcome, RunOutcome> {
    if args.out.join(journal::FILE).exists() {
        let message = format!("{} is the folder of a run, whose reports would be lost", args.out);
        return Err(complain(&message, "choose another folder with --out", RunOutcome::WrongUsage));
    }
    let record = match merge(sources(&args.folders)?) {
        Ok(record) => record,
        Err(refusals) => return Err(refuse(&refusals)),
    };
    let reports = write(&record, &args.out)?;
    crate::cli::print(&recorded(&record, &reports, Options::detect().colour));
    append(|room| summary::markdown_within(&record, room))?;
    record.outcome.ok_or(RunOutcome::InternalError)
}

fn sources(named: &[Utf8PathBuf]) -> Result<Vec<Source>, RunOutcome> {
    let mut sources = Vec::new();
    for named in named {
        let found = folders(named).map_err(|error| unreadable(named, &error))?;
        if found.is_empty() {
            let message = format!("neither {named} nor a folder in it is that of a run: there is no {}", journal::FILE);
            return Err(complain(&message, Refusal::Nothing.cure(), RunOutcome::WrongUsage));
        }
        for folder in found {
            let (record, unreadable) = read_counted(&folder).map_err(|error| self::unreadable(&folder, &error))?;
            sources.push(Source { folder: folder.into_string(), record, unreadable });
        }
    }
    Ok(sources)
}

/// Says why, also in the summary of the job, which would otherwise say nothing at all of a shard that is missing.
fn refuse(refusals: &[Refusal]) -> RunOutcome {
    let mut said = Vec::new();
    for refusal in refusals {
        said.push(format!("{refusal}; {}", refusal.cure()));
        complain(&refusal.to_string(), refusal.cure(), RunOutcome::WrongUsage);
    }
    let appended = append(|_room| summary::not_merged(&said));
    appended.err().unwrap_or(RunOutcome::WrongUsage)
}

fn append(page: impl Fn(usize) -> String) -> Result<(), RunOutcome> {
    let Some(path) = summary::file_of_job() else { return Ok(()) };
    summary::append(&path, page).map_err(|error| unwritable(&path, &error))
}

fn write(record: &Record, out: &Utf8Path) -> Result<Vec<(String, String)>, RunOutcome> {
    fs::create_dir_all(out).map_err(|error| unwritable(out, &error))?;
    let one = |(what, name, format): (&str, &str, crate::report::json::Format)| {
        let path = out.join(name);
        let written = format(record).and_then(|bytes| write_whole(&path, &bytes));
        written.map(|()| (what.to_owned(), path.to_string())).map_err(|error| unwritable(&path, &error))
    };
    FILES.into_iter().map(one).collect()
}

fn unwritable(path: &Utf8Path, error: &std::io::Error) -> RunOutcome {
    complain(
        &format!("cannot write {path}: {error}"),
        "make room, or name another place",
        RunOutcome::EnvironmentFailed,
    )
}
