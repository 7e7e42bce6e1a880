//! What a run was and how it ended: headline, facts, failures, set-up, and what else is worth knowing.

use maud::{Markup, html};
use verdict::text::thousands;

use super::charts::{Bar, chip, timeline};
use super::limits::Limits;
use super::{class_of_run, steps};
use crate::report::event::{PhaseOutcome, StepOutcome};
use crate::report::layer::{self, Failure};
use crate::report::record::Record;
use crate::report::words::{bytes, seconds, versions};

/// The verdict in a few words.
pub(super) fn verdict(record: &Record) -> String {
    match record.outcome {
        Some(outcome) => {
            let meaning = outcome.meaning();
            let mut letters = meaning.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
        None => "Not finished".to_owned(),
    }
}

pub(super) fn header(record: &Record, limits: &Limits) -> Markup {
    html! {
        header class=(format!("verdict {}", class_of_run(record.outcome))) {
            p.product { "meshproof " (limits.clip(&record.command)) }
            h1 { (verdict(record)) }
            p.exit {
                @match record.exit_code {
                    Some(code) => { "exit code " (code) },
                    None => { "the run goes on, or was killed: there is no verdict" },
                }
                " · " (seconds(record.duration_ms))
            }
            (tiles(record))
            (facts(record, limits))
        }
    }
}

fn tiles(record: &Record) -> Markup {
    let passed = record.scenarios.iter().filter(|scenario| scenario.outcome == Some(StepOutcome::Passed)).count();
    let steps = || record.scenarios.iter().flat_map(|scenario| &scenario.steps);
    let checks: usize = steps().map(|step| step.checks.len()).sum();
    let requests: u64 = steps().flat_map(|step| &step.traffic).map(|traffic| traffic.requests).sum();
    let planned = record.selected.len().max(record.scenarios.len());
    let tiles = [
        (format!("{passed} of {planned}"), "scenarios passed"),
        (thousands(checks as u64), "expectations judged"),
        (thousands(requests), "requests measured"),
    ];
    html! {
        @if planned > 0 {
            ul.tiles { @for (figure, what) in tiles { li { strong { (figure) } " " (what) } } }
        }
    }
}

/// A moment of RFC 3339 in UTC as people read it.
fn moment(text: &str) -> String {
    match text.split_at_checked(19) {
        Some((whole, rest)) if rest.ends_with('Z') => format!("{} UTC", whole.replace('T', " ")),
        _ => text.to_owned(),
    }
}

fn facts(record: &Record, limits: &Limits) -> Markup {
    let mut facts = vec![
        ("Started", moment(&record.started)),
        ("Run", record.run_id.clone()),
        ("Environment", record.environment.clone()),
    ];
    if !record.topologies.is_empty() {
        let names: Vec<&str> = record.topologies.iter().map(|topology| topology.name.as_str()).collect();
        facts.push(("Topology", names.join(", ")));
    }
    if let Some(known) = &record.shard {
        facts.push(("Shard", format!("{} of {} scenarios", known.shard, known.selection.len())));
    }
    if !record.versions.is_empty() {
        facts.push(("Versions", versions(record)));
    }
    if let Some(memory) = record.memory {
        let pods = format!(
            "{} in all, {} for each of {} meshed pods",
            bytes(memory.total_bytes),
            bytes(memory.mean_meshed_pod_bytes),
            memory.meshed_pods
        );
        facts.push(("Memory", pods));
    }
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (limits.clip(&value)) } } } } }
}

pub(super) fn failures(record: &Record, limits: &Limits) -> Markup {
    let failures = layer::failures(record);
    html! {
        @if !failures.is_empty() {
            section aria-labelledby="failures" {
                h2 #failures { "What did not pass" }
                @for found in failures.iter().take(limits.entries) { (failure(record, found, limits)) }
                (Limits::note(limits.entries, failures.len(), "that did not pass"))
            }
        }
    }
}

fn failure(record: &Record, failure: &Failure, limits: &Limits) -> Markup {
    let anchor = failure.step.as_ref().and_then(|(scenario, step)| steps::anchor(record, scenario, step));
    let class = if failure.word == "inconclusive" { "doubt" } else { "bad" };
    html! {
        article class=(format!("card {class}")) {
            h3 {
                (chip(class, failure.word)) " "
                @match anchor {
                    Some(anchor) => a href=(format!("#{anchor}")) { (limits.clip(&failure.place)) },
                    None => (limits.clip(&failure.place)),
                }
            }
            p.cause { (limits.clip(&failure.cause)) }
            @if let Some(layer) = failure.layer {
                p { "Likely layer: " strong.layer { (layer.word()) } ", because " (limits.clip(failure.because.as_deref().unwrap_or_default())) "; " (layer.advice()) "." }
            } @else {
                p.muted { "The evidence points at no layer." }
            }
            (sentences(&failure.evidence, limits))
            @if let Some(command) = &failure.reproduce {
                p { "Run exactly this again:" }
                pre.command { code { (limits.clip(command)) } }
            }
        }
    }
}

/// Sentences as a list.
pub(super) fn sentences(sentences: &[String], limits: &Limits) -> Markup {
    html! {
        @if !sentences.is_empty() {
            ul.evidence { @for sentence in sentences.iter().take(limits.entries) { li { (limits.clip(sentence)) } } }
            (Limits::note(limits.entries, sentences.len(), "sentences"))
        }
    }
}

pub(super) fn phases(record: &Record, limits: &Limits) -> Markup {
    let bars = record.phases.iter().take(limits.entries).map(|phase| {
        let (class, word) = match phase.outcome {
            Some(PhaseOutcome::Done) => ("good", "done"),
            Some(PhaseOutcome::Failed) => ("bad", "FAILED"),
            Some(PhaseOutcome::Skipped) => ("doubt", "skipped"),
            None => ("doubt", "did not finish"),
        };
        let unfinished = record.duration_ms.saturating_sub(phase.started_ms);
        Bar {
            label: limits.clip(&format!("{}: {}", phase.id, phase.title)),
            detail: limits.clip(&phase.detail),
            link: None,
            class,
            word,
            from: phase.started_ms,
            length: if phase.outcome.is_some() { phase.duration_ms } else { unfinished },
        }
    });
    html! {
        @if !record.phases.is_empty() {
            section aria-labelledby="phases" {
                h2 #phases { "Set-up and tear-down" }
                (timeline(&bars.collect::<Vec<_>>(), 0, record.duration_ms))
                (Limits::note(limits.entries, record.phases.len(), "phases"))
            }
        }
    }
}

pub(super) fn leftovers(record: &Record, limits: &Limits) -> Markup {
    html! {
        @if !record.warnings.is_empty() {
            section aria-labelledby="warnings" { h2 #warnings { "Warnings" } (sentences(&record.warnings, limits)) }
        }
        @if !record.files.is_empty() {
            section aria-labelledby="files" {
                h2 #files { "Files" }
                dl.facts { @for file in record.files.iter().take(limits.entries) {
                    div { dt { (limits.clip(&file.what)) } dd { code { (limits.clip(&file.path)) } } }
                } }
                (Limits::note(limits.entries, record.files.len(), "files"))
            }
        }
    }
}
