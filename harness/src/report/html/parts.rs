//! The runs that a report was merged from.

use maud::{Markup, html};

use super::charts::chip;
use super::class_of_run;
use super::limits::Limits;
use crate::report::record::Record;
use crate::report::words::seconds;

pub(super) fn section(record: &Record, limits: &Limits) -> Markup {
    html! {
        @if !record.parts.is_empty() {
            section aria-labelledby="parts" {
                h2 #parts { "Merged from" }
                div.scroll tabindex="0" role="region" aria-label="Merged from" {
                    table {
                        thead { tr {
                            th scope="col" { "Shard" } th scope="col" { "Environment" } th scope="col" { "Topology" }
                            th scope="col" { "Scenarios" } th scope="col" { "Outcome" } th scope="col" { "Began after" } th scope="col" { "Took" }
                        } }
                        tbody { @for part in record.parts.iter().take(limits.entries) {
                            tr {
                                td { (part.shard) }
                                td { (limits.clip(&part.environment)) }
                                td { (limits.clip(&part.topologies.join(", "))) }
                                td { (part.scenarios) }
                                td { (chip(class_of_run(Some(part.outcome)), part.outcome.meaning())) }
                                td { (seconds(part.started_ms)) }
                                td { (seconds(part.duration_ms)) }
                            }
                        } }
                    }
                }
                (Limits::note(limits.entries, record.parts.len(), "runs"))
            }
        }
    }
}
