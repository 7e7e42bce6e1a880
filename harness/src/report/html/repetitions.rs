//! Where scenarios were repeated: how often each ended how, with links to the repetitions that did not pass.

use maud::{Markup, html};

use super::charts::chip;
use super::limits::Limits;
use super::scenario;
use crate::report::event::StepOutcome;
use crate::report::record::Record;

pub(super) fn section(record: &Record, limits: &Limits) -> Markup {
    html! {
        @if !record.repetitions.is_empty() {
            section aria-labelledby="repetitions" {
                h2 #repetitions { "Repetitions" }
                div.scroll tabindex="0" role="region" aria-label="Repetitions" {
                    table {
                        thead { tr { th scope="col" { "Scenario" } th scope="col" { "Outcomes" } th scope="col" { "Not passed" } } }
                        tbody { @for tally in record.repetitions.iter().take(limits.entries) {
                            tr {
                                td { (limits.clip(&tally.scenario)) }
                                td {
                                    @let class = if tally.passed == tally.begun { "good" } else { "bad" };
                                    (chip(class, &tally.sentence()))
                                }
                                td { (others(record, &tally.scenario, limits)) }
                            }
                        } }
                    }
                }
                (Limits::note(limits.entries, record.repetitions.len(), "scenarios"))
            }
        }
    }
}

fn others(record: &Record, name: &str, limits: &Limits) -> Markup {
    let repetitions = record.scenarios.iter().enumerate().filter_map(|(index, candidate)| {
        let repetition = candidate.repetition.as_ref().filter(|repetition| repetition.of == name)?;
        (candidate.outcome != Some(StepOutcome::Passed)).then_some((index, repetition.number))
    });
    html! {
        @for (index, number) in repetitions.take(limits.entries) {
            @match scenario::anchor(record, index, limits) {
                Some(anchor) => a href=(format!("#{anchor}")) { (number) },
                None => (number),
            }
            " "
        }
    }
}
