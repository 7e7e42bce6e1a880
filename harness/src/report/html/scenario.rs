//! The scenarios of a run, each with its timeline, its steps and what was saved of its state.

use maud::{Markup, html};

use super::charts::{Bar, chip, look, timeline};
use super::limits::Limits;
use super::steps;
use crate::report::event::StepOutcome;
use crate::report::layer;
use crate::report::record::{Artifacts, Record, ScenarioRecord};
use crate::report::words::{bytes, seconds};

/// In the order of the run, but those that did not pass are never the ones that are left out.
fn shown(record: &Record, limits: &Limits) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..record.scenarios.len()).collect();
    shown.sort_by_key(|index| record.scenarios[*index].outcome == Some(StepOutcome::Passed));
    shown.truncate(limits.scenarios);
    shown.sort_unstable();
    shown
}

/// Where links to a scenario lead, where it is shown.
pub(super) fn anchor(record: &Record, index: usize, limits: &Limits) -> Option<String> {
    shown(record, limits).contains(&index).then(|| format!("scenario-{index}"))
}

pub(super) fn sections(record: &Record, limits: &Limits) -> Markup {
    html! {
        @for index in shown(record, limits) { (section(record, index, limits)) }
        (Limits::note(limits.scenarios, record.scenarios.len(), "scenarios"))
    }
}

/// When each scenario ran, and beside which others.
pub(super) fn over_time(record: &Record, limits: &Limits) -> Markup {
    let from = record.scenarios.iter().map(|scenario| scenario.started_ms).min().unwrap_or(0);
    let bars = record.scenarios.iter().enumerate().take(limits.scenarios).map(|(index, scenario)| {
        let (class, word) = look(scenario.outcome.as_ref());
        Bar {
            label: limits.clip(&scenario.name),
            detail: String::new(),
            link: anchor(record, index, limits),
            class,
            word,
            from: scenario.started_ms,
            length: length(record, scenario),
        }
    });
    let end = record.scenarios.iter().map(|scenario| scenario.started_ms + length(record, scenario)).max().unwrap_or(0);
    html! {
        @if record.scenarios.len() > 1 {
            section aria-labelledby="scenarios-over-time" {
                h2 #scenarios-over-time { "Scenarios over time" }
                (timeline(&bars.collect::<Vec<_>>(), from, end.saturating_sub(from)))
                (Limits::note(limits.scenarios, record.scenarios.len(), "scenarios"))
            }
        }
    }
}

/// How long a scenario took, or has taken so far.
fn length(record: &Record, scenario: &ScenarioRecord) -> u64 {
    let so_far = record.duration_ms.saturating_sub(scenario.started_ms);
    if scenario.outcome.is_some() { scenario.duration_ms } else { so_far }
}

fn section(record: &Record, index: usize, limits: &Limits) -> Markup {
    let scenario = &record.scenarios[index];
    let (class, word) = look(scenario.outcome.as_ref());
    let heading = format!("scenario-{index}");
    html! {
        section.scenario aria-labelledby=(heading) {
            h2 id=(heading) { (chip(class, word)) " " (limits.clip(&scenario.name)) }
            p { (limits.clip(&scenario.description)) }
            @match &scenario.outcome {
                Some(StepOutcome::Skipped { reason }) => p.cause { "Skipped: " (limits.clip(reason)) },
                Some(StepOutcome::Errored { message }) => p.cause { (limits.clip(message)) },
                _ => {},
            }
            p.muted {
                code { (limits.clip(&scenario.file)) }
                @if let Some(environment) = &scenario.environment { " · on " code { (limits.clip(environment)) } }
                " · " (seconds(scenario.duration_ms)) " · again: "
                code { (limits.clip(&layer::reproduce(record, scenario))) }
            }
            h3 { "Timeline" }
            (steps_over_time(record, index, scenario, limits))
            (saved(scenario.artifacts.as_ref(), limits))
            h3 { "Steps" }
            p.controls hidden { button type="button" data-open="true" { "Open all" } " " button type="button" data-open="false" { "Close all" } }
            (steps::list(index, scenario, limits))
        }
    }
}

fn steps_over_time(record: &Record, index: usize, scenario: &ScenarioRecord, limits: &Limits) -> Markup {
    let bars = scenario.leaves().take(limits.steps).map(|step| {
        let (class, word) = look(step.outcome.as_ref());
        let unfinished = record.duration_ms.saturating_sub(step.started_ms);
        Bar {
            label: limits.clip(&format!("{} {}", step.id, step.name)),
            detail: String::new(),
            link: steps::anchor_of(index, scenario, &step.id),
            class,
            word,
            from: step.started_ms,
            length: if step.outcome.is_some() { step.duration_ms } else { unfinished },
        }
    });
    timeline(&bars.collect::<Vec<_>>(), scenario.started_ms, length(record, scenario))
}

fn saved(artifacts: Option<&Artifacts>, limits: &Limits) -> Markup {
    html! {
        @if let Some(artifacts) = artifacts {
            details.saved {
                summary {
                    "State saved before the clean-up: " (artifacts.files.len()) " files, "
                    (bytes(artifacts.files.iter().map(|file| file.bytes).sum()))
                }
                p { "In " code { (limits.clip(&artifacts.folder)) } }
                div.scroll tabindex="0" role="region" aria-label="Files of saved state" {
                    table {
                        thead { tr { th scope="col" { "File" } th scope="col" { "What" } th scope="col" { "Size" } } }
                        tbody { @for file in artifacts.files.iter().take(limits.entries) {
                            tr { td { code { (limits.clip(&file.path)) } } td { (limits.clip(&file.what)) } td.figure { (bytes(file.bytes)) } }
                        } }
                    }
                }
                (Limits::note(limits.entries, artifacts.files.len(), "files"))
                @if !artifacts.missing.is_empty() {
                    p { "What could not be saved:" }
                    (super::overview::sentences(&artifacts.missing, limits))
                }
            }
        }
    }
}
