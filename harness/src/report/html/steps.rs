//! The steps of a scenario: what each did, what was expected, what came of it, with all its evidence.

use maud::{Markup, html};
use verdict::Outcome;
use verdict::text::thousands;

use super::charts::{chip, look, number};
use super::limits::Limits;
use super::{failover, latency, overview, reachability, samples, split};
use crate::report::event::{CheckReport, StepOutcome};
use crate::report::figures::Traffic;
use crate::report::layer;
use crate::report::record::{Record, ScenarioRecord, StepRecord};
use crate::report::words::{clip, seconds};

/// The id of a step on the page, which is also where links lead. Made of positions: names may hold anything.
pub(super) fn anchor_of(scenario: usize, record: &ScenarioRecord, step: &str) -> Option<String> {
    let position = record.steps.iter().rposition(|candidate| candidate.id == step)?;
    Some(format!("step-{scenario}-{position}"))
}

/// As [`anchor_of`], from names.
pub(super) fn anchor(record: &Record, scenario: &str, step: &str) -> Option<String> {
    let index = record.scenarios.iter().rposition(|candidate| candidate.name == scenario)?;
    anchor_of(index, &record.scenarios[index], step)
}

pub(super) fn list(index: usize, scenario: &ScenarioRecord, limits: &Limits) -> Markup {
    let steps = || scenario.steps.iter().filter(|step| !step.is_part_of_control());
    html! {
        div.steps {
            @for step in steps().take(limits.steps) {
                @if scenario.leaves().any(|leaf| std::ptr::eq(leaf, step)) {
                    (one(index, scenario, step, limits))
                } @else {
                    h4.group { (limits.clip(&format!("{} {}", step.id, step.name))) }
                }
            }
        }
        (Limits::note(limits.steps, steps().count(), "steps"))
    }
}

fn one(index: usize, scenario: &ScenarioRecord, step: &StepRecord, limits: &Limits) -> Markup {
    let (class, word) = look(step.outcome.as_ref());
    let failed = step.outcome != Some(StepOutcome::Passed);
    // What failed, and what there is to see.
    let open = failed || step.checks.iter().any(is_drawn);
    let parts: Vec<&StepRecord> =
        scenario.steps.iter().filter(|part| part.is_part_of_control() && part.parent() == Some(&step.id)).collect();
    html! {
        details.step id=[anchor_of(index, scenario, &step.id)] open[open] {
            summary {
                (chip(class, word)) " " span.name { (limits.clip(&format!("{} {}", step.id, step.name))) }
                " " span.took { (seconds(step.duration_ms)) }
            }
            div.body {
                @match &step.outcome {
                    Some(StepOutcome::Skipped { reason }) => p.cause { "Skipped: " (limits.clip(reason)) },
                    Some(StepOutcome::Errored { message }) => p.cause { (limits.clip(message)) },
                    _ => {},
                }
                @if failed { (likely(scenario, step)) }
                @for part in parts.iter().take(limits.steps) { (part_of_control(part, limits)) }
                (overview::sentences(&step.evidence, limits))
                @for traffic in step.traffic.iter().take(limits.entries) { (requests(traffic, limits)) }
                @for judged in step.checks.iter().take(limits.checks) { (check(judged, limits)) }
                (Limits::note(limits.checks, step.checks.len(), "expectations"))
            }
        }
    }
}

/// Whether a check is a chart; those of controls show a mesh that was changed on purpose.
fn is_drawn(check: &CheckReport) -> bool {
    let control = check.name.ends_with(" must be refuted") || check.name.ends_with(" instead");
    !control && ["split", "failover", "latency", "reachability"].iter().any(|key| check.figures.get(key).is_some())
}

fn likely(scenario: &ScenarioRecord, step: &StepRecord) -> Markup {
    let check = step.checks.iter().find(|check| check.outcome == Outcome::Fail);
    let guess = layer::guess(scenario, step, check);
    html! {
        p { "Likely layer: " strong.layer { (guess.map_or("unknown", |guess| guess.layer.word())) } }
    }
}

fn part_of_control(part: &StepRecord, limits: &Limits) -> Markup {
    let (class, word) = look(part.outcome.as_ref());
    html! {
        div.part {
            p { (chip(class, word)) " " (limits.clip(&format!("{} {}", part.id, part.name))) " " span.took { (seconds(part.duration_ms)) } }
            @if let Some(StepOutcome::Errored { message }) = &part.outcome { p.cause { (limits.clip(message)) } }
            (overview::sentences(&part.evidence, limits))
        }
    }
}

/// What is told of the time to answer, from the middle to the end.
const QUANTILES: [&str; 4] = ["p50", "p90", "p99", "max"];

fn requests(traffic: &Traffic, limits: &Limits) -> Markup {
    let client = format!("{} of {}", traffic.from_workload, traffic.from_cluster);
    let by = match traffic.workers.len() {
        0 => None,
        1 => Some(" by a worker".to_owned()),
        several => Some(format!(" by {several} workers")),
    };
    html! {
        p.traffic {
            strong { (limits.clip(&client)) } @if let Some(by) = by { span title=(limits.clip(&traffic.workers.join(", "))) { (by) } } " asked " code { (limits.clip(&traffic.url)) } ": "
            (thousands(traffic.requests)) " requests in " (number(traffic.duration_ms / 1000.0)) " s, " (thousands(traffic.failed)) " without a good answer"
            @for (name, milliseconds) in QUANTILES.iter().filter_map(|name| Some((*name, traffic.latency_ms.get(*name)?))) {
                ", " (name) " " (number(*milliseconds)) " ms"
            }
            @if let Some(samples) = traffic.samples {
                span.muted { "; " (thousands(samples.kept)) " kept one by one" @if samples.dropped > 0 { ", " (thousands(samples.dropped)) " counted only" } }
            }
        }
    }
}

fn check(check: &CheckReport, limits: &Limits) -> Markup {
    let class = match check.outcome {
        Outcome::Pass => "good",
        Outcome::Fail => "bad",
        Outcome::Inconclusive => "doubt",
    };
    html! {
        div.check {
            p.heading { (chip(class, check.outcome.word())) " " (limits.clip(&check.name))
                @if let Some(location) = &check.location { " " span.muted { (limits.clip(&location.to_string())) } }
            }
            (overview::sentences(&check.evidence, limits))
            (samples::list(&check.figures, limits))
            (split::chart(&check.figures, limits))
            (failover::chart(&check.figures, limits))
            (latency::chart(&check.figures, limits))
            (reachability::table(&check.figures, limits))
            @if limits.figures > 0 && !check.figures.is_null() {
                details.figures {
                    summary { "All figures" }
                    pre tabindex="0" { code { (clip(&format!("{:#}", check.figures), limits.figures)) } }
                }
            }
        }
    }
}
