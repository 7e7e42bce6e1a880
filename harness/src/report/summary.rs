//! The summary of a job on GitHub: a short page in Markdown, appended to the file that `GITHUB_STEP_SUMMARY` names.
//!
//! GitHub shows at most 1 MiB of a step and otherwise nothing at all, so pages are far smaller, and all pages of a step
//! together stay below that.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::event::{Event, EventKind, StepOutcome};
use super::layer;
use super::outcome::RunOutcome;
use super::record::{Record, ScenarioRecord};
use super::stream::Consumer;
use super::words::{clip, seconds, versions};

/// Rows of a table; more are counted in a last line.
const ROWS: usize = 100;
/// Scenarios that took longest.
const SLOWEST: usize = 10;
/// Sentences of evidence below what did not pass.
const EVIDENCE: usize = 3;
/// Characters of a sentence.
const SENTENCE: usize = 400;
/// Bytes of a page.
const LARGEST: usize = 256 * 1024;
/// Bytes of all pages of a step: somewhat less than what GitHub takes.
const ALL: u64 = 1_000 * 1024;

/// Appends the page when the run has ended.
pub struct JobSummary {
    path: Utf8PathBuf,
    record: Record,
}

impl JobSummary {
    /// A summary in that file.
    #[must_use]
    pub fn new(path: Utf8PathBuf) -> Self {
        Self { path, record: Record::default() }
    }
}

impl Consumer for JobSummary {
    fn name(&self) -> String {
        format!("the job summary {}", self.path)
    }

    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        self.record.add(event);
        let ended = matches!(event.kind, EventKind::RunFinished { .. });
        // The page of all shards tells of one that passed.
        let quiet = self.record.shard.is_some() && self.record.outcome == Some(RunOutcome::Passed);
        if ended && !quiet { append(&self.path, |room| markdown_within(&self.record, room)) } else { Ok(()) }
    }
}

/// Where GitHub wants the summary of a job step, if this is one.
#[must_use]
pub fn file_of_job() -> Option<Utf8PathBuf> {
    std::env::var("GITHUB_STEP_SUMMARY").ok().filter(|path| !path.is_empty()).map(Utf8PathBuf::from)
}

/// Appends a page, which is made for the bytes that are left: a step can have several runs.
///
/// # Errors
/// Those of the file system.
pub fn append(path: &Utf8Path, page: impl Fn(usize) -> String) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let left = usize::try_from(ALL.saturating_sub(file.metadata()?.len())).unwrap_or(LARGEST);
    file.write_all(page(left.min(LARGEST)).as_bytes())
}

/// The page.
#[must_use]
pub fn markdown(record: &Record) -> String {
    markdown_within(record, LARGEST)
}

/// The page of runs that could not be merged, and why.
#[must_use]
pub fn not_merged(reasons: &[String]) -> String {
    let mut page = Page::new(LARGEST);
    page.line("## ❌ meshproof: the shards could not be merged, nothing is known about the mesh\n");
    page.list(reasons, |reason| format!("- {}", cell(reason)));
    page.finish()
}

/// Lines up to a number of bytes.
struct Page {
    text: String,
    room: usize,
    left_out: usize,
}

impl Page {
    fn new(room: usize) -> Self {
        Self { text: String::new(), room, left_out: 0 }
    }

    /// Adds a line, unless one before it did not fit: what follows it would stand in the wrong place.
    fn line(&mut self, line: &str) {
        if self.left_out > 0 || self.text.len() + line.len() + NOTE > self.room {
            self.left_out += 1;
        } else {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn list<T>(&mut self, items: &[T], line: impl Fn(&T) -> String) {
        items.iter().take(ROWS).for_each(|item| self.line(&line(item)));
        if items.len() > ROWS {
            self.line(&format!("\n… and {} more", items.len() - ROWS));
        }
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 && self.room >= NOTE {
            self.text.push_str(&format!("\n… {} more lines are in report.html\n", self.left_out));
        } else if self.left_out == 0 {
            self.text.push('\n');
        }
        self.text
    }
}

/// Room for the line that counts lines that are left out.
const NOTE: usize = 80;

/// The page in so many bytes: what does not fit is counted.
#[must_use]
pub fn markdown_within(record: &Record, room: usize) -> String {
    let mut page = Page::new(room);
    head(&mut page, record);
    parts(&mut page, record);
    failures(&mut page, record);
    if !record.repetitions.is_empty() {
        page.line("\n### Repetitions\n");
        page.list(&record.repetitions, |tally| format!("- {}: {}", cell(&tally.scenario), tally.sentence()));
    }
    scenarios(&mut page, record);
    if !record.versions.is_empty() {
        page.line(&format!("\nVersions: {}", cell(&versions(record))));
    }
    page.finish()
}

fn head(page: &mut Page, record: &Record) {
    let outcome = record.outcome.unwrap_or(RunOutcome::InternalError);
    let command = cell(&record.command);
    let (mark, meaning) = (mark(outcome), outcome.meaning());
    page.line(&format!("## {mark} meshproof {command}: {meaning} (exit {})", outcome.exit_code()));
    let took = seconds(record.duration_ms);
    let shard = record.shard.as_ref().map(|known| format!(", shard {}", known.shard)).unwrap_or_default();
    page.line(&if record.parts.is_empty() {
        let (environment, run_id) = (code(&record.environment), code(&record.run_id));
        format!("\nEnvironment `{environment}`, run `{run_id}`{shard}, {took}.")
    } else {
        format!("\n{}, {took}.", cell(&record.environment))
    });
    if !record.scenarios.is_empty() {
        page.line(&format!("\n{}", counts(record)));
    }
}

fn mark(outcome: RunOutcome) -> &'static str {
    if outcome == RunOutcome::Passed { "✅" } else { "❌" }
}

/// `96 of 98 scenarios passed, 1 FAILED, 1 skipped; 800 expectations judged.`
fn counts(record: &Record) -> String {
    let count = |word: &str| record.scenarios.iter().filter(|scenario| self::word(scenario) == word).count();
    let others = ["FAILED", "inconclusive", "ERROR", "skipped", NOT_FINISHED].map(|word| (count(word), word));
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}"));
    let checks: usize =
        record.scenarios.iter().flat_map(|scenario| &scenario.steps).map(|step| step.checks.len()).sum();
    // One that the run did not get to is no row of the table, and did not pass.
    let all = record.selected.len().max(record.scenarios.len());
    format!(
        "{} of {all} scenarios passed{}; {checks} expectations judged.",
        count("passed"),
        others.collect::<String>()
    )
}

fn parts(page: &mut Page, record: &Record) {
    if record.parts.is_empty() {
        return;
    }
    page.line("\n| Shard | Topology | Scenarios | Outcome | Time |\n|---|---|---|---|---|");
    page.list(&record.parts, |part| {
        let (topology, outcome) = (cell(&part.topologies.join(", ")), part.outcome);
        let took = seconds(part.duration_ms);
        format!(
            "| {} | {topology} | {} | {} {} | {took} |",
            part.shard,
            part.scenarios,
            mark(outcome),
            outcome.meaning()
        )
    });
}

fn failures(page: &mut Page, record: &Record) {
    let failures = layer::failures(record);
    if failures.is_empty() {
        return;
    }
    page.line("\n### What did not pass\n");
    page.list(&failures, |failure| {
        let because =
            failure.because.as_ref().map(|because| format!(", because {}", cell(because))).unwrap_or_default();
        let layer = failure.layer.map(|layer| format!(" Likely layer: **{}**{because}.", layer.word()));
        let layer = layer.unwrap_or_default();
        let mut text = format!("- **{}**: {}{layer}", cell(&failure.place), cell(&failure.cause));
        for sentence in failure.evidence.iter().take(EVIDENCE) {
            text.push_str(&format!("\n  - {}", cell(sentence)));
        }
        if let Some(command) = &failure.reproduce {
            text.push_str(&format!("\n  - again: `{}`", code(command)));
        }
        text
    });
}

/// All scenarios where they are few; otherwise those that took longest, for what did not pass is named above.
fn scenarios(page: &mut Page, record: &Record) {
    let mut shown: Vec<&ScenarioRecord> = record.scenarios.iter().collect();
    if shown.is_empty() {
        return;
    }
    if shown.len() > SLOWEST {
        shown.sort_by_key(|scenario| std::cmp::Reverse(scenario.duration_ms));
        shown.truncate(SLOWEST);
        page.line("\n### Slowest");
    }
    page.line("\n| Scenario | Outcome | Time | Expectations |\n|---|---|---|---|");
    page.list(&shown, |scenario| row(scenario));
}

const NOT_FINISHED: &str = "did not finish";

fn word(scenario: &ScenarioRecord) -> &'static str {
    scenario.outcome.as_ref().map_or(NOT_FINISHED, StepOutcome::word)
}

fn row(scenario: &ScenarioRecord) -> String {
    let checks: usize = scenario.steps.iter().map(|step| step.checks.len()).sum();
    format!("| {} | {} | {} | {checks} |", cell(&scenario.name), word(scenario), seconds(scenario.duration_ms))
}

/// Text in a table or list: one line, and nothing that Markdown or HTML reads as markup.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for letter in clip(text, SENTENCE).chars() {
        match letter {
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '!' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter if letter.is_control() => {}
            letter => safe.push(letter),
        }
    }
    safe
}

/// Text between backticks.
fn code(text: &str) -> String {
    clip(text, SENTENCE).chars().map(|letter| if letter == '`' || letter.is_control() { ' ' } else { letter }).collect()
}
