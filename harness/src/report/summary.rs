//! The summary of a job on GitHub: a short page in Markdown, appended to the file that `GITHUB_STEP_SUMMARY` names.
//!
//! GitHub shows at most 1 MiB of a step and then nothing at all, so the page is far smaller.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};

use camino::Utf8PathBuf;

use super::event::{Event, EventKind, StepOutcome};
use super::layer;
use super::outcome::RunOutcome;
use super::record::{Record, ScenarioRecord};
use super::stream::Consumer;
use super::words::{clip, seconds};

/// Rows of a table; more are counted in a last line.
const ROWS: usize = 100;
/// Characters of a sentence.
const SENTENCE: usize = 400;

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
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(markdown(&self.record).as_bytes())?;
        }
        Ok(())
    }
}

/// The page.
#[must_use]
pub fn markdown(record: &Record) -> String {
    let mut page = String::new();
    let outcome = record.outcome.unwrap_or(RunOutcome::InternalError);
    let mark = if outcome == RunOutcome::Passed { "✅" } else { "❌" };
    let command = cell(&record.command);
    line(&mut page, &format!("## {mark} meshproof {command}: {} (exit {})", outcome.meaning(), outcome.exit_code()));
    let took = seconds(record.duration_ms);
    line(&mut page, &format!("\nEnvironment `{}`, run `{}`, {took}.", code(&record.environment), code(&record.run_id)));
    if !record.scenarios.is_empty() {
        line(&mut page, "\n| Scenario | Outcome | Time | Expectations |\n|---|---|---|---|");
        for scenario in record.scenarios.iter().take(ROWS) {
            line(&mut page, &row(scenario));
        }
        more(&mut page, record.scenarios.len());
    }
    if !record.repetitions.is_empty() {
        line(&mut page, "\n### Repetitions\n");
        for tally in record.repetitions.iter().take(ROWS) {
            line(&mut page, &format!("- {}: {}", cell(&tally.scenario), tally.sentence()));
        }
        more(&mut page, record.repetitions.len());
    }
    let failures = layer::failures(record);
    if !failures.is_empty() {
        line(&mut page, "\n### What did not pass\n");
        for failure in failures.iter().take(ROWS) {
            let layer = failure.layer.map(|layer| format!(" Likely layer: **{}**.", layer.word())).unwrap_or_default();
            line(&mut page, &format!("- **{}**: {}{layer}", cell(&failure.place), cell(&failure.cause)));
            if let Some(command) = &failure.reproduce {
                line(&mut page, &format!("  `{}`", code(command)));
            }
        }
        more(&mut page, failures.len());
    }
    page.push('\n');
    page
}

fn row(scenario: &ScenarioRecord) -> String {
    let word = scenario.outcome.as_ref().map_or("did not finish", StepOutcome::word);
    let checks: usize = scenario.steps.iter().map(|step| step.checks.len()).sum();
    format!("| {} | {word} | {} | {checks} |", cell(&scenario.name), seconds(scenario.duration_ms))
}

fn more(page: &mut String, rows: usize) {
    if rows > ROWS {
        line(page, &format!("\n… and {} more", rows - ROWS));
    }
}

fn line(page: &mut String, text: &str) {
    // Writing into a text cannot fail.
    let _ = writeln!(page, "{text}");
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
