//! `report.html`: one file that shows a whole run, for people. Nothing in it comes from elsewhere, and nothing in it needs
//! a script; it is a pure function of the record.
//!
//! Everything that a run brings is escaped by `maud`, here and in the files below, and nothing is marked as markup
//! already. The page is bounded: where a run has too much to show, lists are cut, with a note, until it fits.

mod charts;
mod drawing;
mod failover;
mod latency;
mod layout;
mod limits;
mod overview;
mod parts;
mod reachability;
mod repetitions;
mod samples;
mod scenario;
mod split;
mod steps;

use std::io;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::outcome::RunOutcome;
use super::record::Record;
use limits::Limits;

/// The largest page, in bytes.
pub const LARGEST: usize = 5 * 1024 * 1024;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// No request leaves the page, whatever is in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The page as a file.
///
/// # Errors
/// Never: it is made in memory.
pub fn format(record: &Record) -> io::Result<Vec<u8>> {
    Ok(page(record).into_bytes())
}

/// The page.
#[must_use]
pub fn page(record: &Record) -> String {
    let mut page = String::new();
    for limits in limits::LEVELS {
        page = whole(record, &limits).into_string();
        if page.len() <= LARGEST {
            break;
        }
    }
    page
}

fn whole(record: &Record, limits: &Limits) -> Markup {
    let title = format!("{}: {}", overview::verdict(record), record.environment);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="meshproof";
                link rel="icon" href="data:,";
                title { (limits.clip(&title)) }
                // Constants of this crate, not of a run.
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the results" }
                (overview::header(record, limits))
                main #main {
                    (overview::failures(record, limits))
                    (parts::section(record, limits))
                    (repetitions::section(record, limits))
                    (drawing::section(record, limits))
                    (scenario::over_time(record, limits))
                    (scenario::sections(record, limits))
                    (overview::phases(record, limits))
                    (overview::leftovers(record, limits))
                }
                footer {
                    p { "Written by meshproof " (env!("CARGO_PKG_VERSION")) ". Times are since the start of the run. Secrets are redacted." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The class of an outcome, for its colour. Its word always stands beside it.
fn class_of_run(outcome: Option<RunOutcome>) -> &'static str {
    match outcome {
        Some(RunOutcome::Passed) => "good",
        Some(
            RunOutcome::Inconclusive | RunOutcome::NothingSelected | RunOutcome::Interrupted | RunOutcome::Terminated,
        )
        | None => "doubt",
        Some(
            RunOutcome::InternalError
            | RunOutcome::WrongUsage
            | RunOutcome::MachineCannot
            | RunOutcome::MeshFailed
            | RunOutcome::EnvironmentFailed,
        ) => "bad",
    }
}

#[cfg(test)]
mod tests;
