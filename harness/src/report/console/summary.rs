//! The block at the end of a run: what came of it, what to look at, where the reports are.

use std::time::Duration;

use super::lines::{mark, seconds};
use super::style::{Line, Style};
use crate::report::layer;
use crate::report::outcome::RunOutcome;
use crate::report::record::Record;
use crate::report::{CheckReport, StepOutcome};

pub(super) fn summary(record: &Record, outcome: RunOutcome, reports: &[(String, String)]) -> Vec<Line> {
    let mut lines = body(record, reports);
    let took = seconds(Duration::from_millis(record.duration_ms));
    lines.push(
        Line::new(style(outcome), format!("  {}", outcome.meaning()))
            .then(Style::Quiet, format!(" (exit {}, {took})", outcome.exit_code())),
    );
    lines
}

/// Of a run that goes on, or was killed.
pub(super) fn unfinished(record: &Record, reports: &[(String, String)]) -> Vec<Line> {
    let mut lines = body(record, reports);
    lines.push(Line::new(Style::Doubtful, "  not finished: there is no verdict"));
    lines
}

fn body(record: &Record, reports: &[(String, String)]) -> Vec<Line> {
    let mut lines = vec![Line::default(), Line::new(Style::Strong, "Summary")];
    for scenario in &record.scenarios {
        // Of repetitions those that passed are only counted.
        if scenario.repetition.is_some() && scenario.outcome == Some(StepOutcome::Passed) {
            continue;
        }
        let (style, word) = scenario.outcome.as_ref().map_or((Style::Bad, "ERR "), mark);
        let took = seconds(Duration::from_millis(scenario.duration_ms));
        lines.push(Line::new(style, format!("  {word}")).then(Style::Plain, format!(" {} ({took})", scenario.name)));
        for step in scenario.leaves().filter(|step| step.outcome.as_ref().is_some_and(is_trouble)) {
            let (style, word) = step.outcome.as_ref().map_or((Style::Bad, "ERR "), mark);
            lines.push(Line::new(style, format!("       {word} {} {}", step.id, step.name)));
            lines.extend(step.checks.iter().filter(|check| check.outcome != verdict::Outcome::Pass).map(cause));
            let check = step.checks.iter().find(|check| check.outcome == verdict::Outcome::Fail);
            lines.extend(layer::guess(scenario, step, check).map(|guess| {
                let text = format!("            likely layer: {}, because {}", guess.layer.word(), guess.because);
                Line::new(Style::Quiet, text)
            }));
        }
    }
    lines.extend(record.repetitions.iter().map(|tally| {
        let style = if tally.passed == tally.begun { Style::Good } else { Style::Doubtful };
        Line::new(style, format!("  {}", tally.sentence())).then(Style::Plain, format!(": {}", tally.scenario))
    }));
    if !record.scenarios.is_empty() {
        lines.push(Line::new(Style::Plain, format!("  {}", counts(record))));
    }
    // A report that could not be written is named as a failure; its path would lead nowhere.
    let unwritten = |path: &str| {
        record.failures.iter().any(|failure| failure.message.starts_with(&format!("cannot write {path}: ")))
    };
    let reports = reports.iter().filter(|(_, path)| !unwritten(path));
    for (what, path) in
        record.files.iter().map(|file| (&file.what, &file.path)).chain(reports.map(|(what, path)| (what, path)))
    {
        lines.push(Line::new(Style::Plain, format!("  {what}: {path}")));
    }
    lines
}

fn style(outcome: RunOutcome) -> Style {
    match outcome {
        RunOutcome::Passed => Style::Good,
        RunOutcome::Inconclusive | RunOutcome::NothingSelected | RunOutcome::Interrupted | RunOutcome::Terminated => {
            Style::Doubtful
        }
        RunOutcome::InternalError
        | RunOutcome::WrongUsage
        | RunOutcome::MachineCannot
        | RunOutcome::MeshFailed
        | RunOutcome::EnvironmentFailed => Style::Bad,
    }
}

fn is_trouble(outcome: &StepOutcome) -> bool {
    match outcome {
        StepOutcome::Failed | StepOutcome::Inconclusive | StepOutcome::Errored { .. } => true,
        StepOutcome::Passed | StepOutcome::Skipped { .. } => false,
    }
}

fn cause(check: &CheckReport) -> Line {
    let sentence = check.evidence.first().map_or("", String::as_str);
    Line::new(Style::Plain, format!("            {}: {sentence}", check.name))
}

fn counts(record: &Record) -> String {
    let counts = record.counts();
    let checks: usize =
        record.scenarios.iter().flat_map(|scenario| &scenario.steps).map(|step| step.checks.len()).sum();
    let named = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.inconclusive, "inconclusive"),
        (counts.errored, "not carried out"),
        (counts.skipped, "skipped"),
    ];
    let steps: Vec<String> =
        named.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    format!("steps: {}; {checks} expectations judged", steps.join(", "))
}
