//! Small parts that several sections use: chips, bars over time, numbers on axes.

use maud::{Markup, html};

use crate::report::event::StepOutcome;
use crate::report::words::seconds;

/// A mark with its word; the colour only repeats it.
pub(super) fn chip(class: &str, word: &str) -> Markup {
    let sign = match class {
        "good" => "✓",
        "bad" => "✗",
        _ => "?",
    };
    html! { span class=(format!("chip {class}")) { span aria-hidden="true" { (sign) " " } (word) } }
}

/// Colour and word of a step or scenario.
pub(super) fn look(outcome: Option<&StepOutcome>) -> (&'static str, &'static str) {
    let word = outcome.map_or("did not finish", StepOutcome::word);
    let class = match outcome {
        Some(StepOutcome::Passed) => "good",
        Some(StepOutcome::Failed | StepOutcome::Errored { .. }) => "bad",
        Some(StepOutcome::Inconclusive | StepOutcome::Skipped { .. }) | None => "doubt",
    };
    (class, word)
}

/// A row of a timeline.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) detail: String,
    pub(super) link: Option<String>,
    pub(super) class: &'static str,
    pub(super) word: &'static str,
    /// Milliseconds since the start of the run.
    pub(super) from: u64,
    /// Milliseconds.
    pub(super) length: u64,
}

/// Rows over one axis of time, which begins at `from` and is `length` long. The bars repeat what the words say.
pub(super) fn timeline(bars: &[Bar], from: u64, length: u64) -> Markup {
    html! {
        ol.timeline {
            @for bar in bars {
                li {
                    span.what {
                        (chip(bar.class, bar.word)) " "
                        @match &bar.link {
                            Some(link) => a href=(format!("#{link}")) { (bar.label) },
                            None => (bar.label),
                        }
                        @if !bar.detail.is_empty() { " " span.muted { (bar.detail) } }
                    }
                    span.took { (seconds(bar.length)) }
                    svg.track viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                        rect.rail x="0" y="4" width="1000" height="2" {}
                        rect class=(bar.class) x=(share(bar.from.saturating_sub(from), length)) y="0" height="10"
                            width=(share(bar.length, length).max(3)) {}
                    }
                }
            }
        }
        div.axis aria-hidden="true" { span { (seconds(from)) } span { (seconds(from + length)) } }
    }
}

fn share(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(1000) / whole.max(1)).min(1000)
}

/// A position on an axis of thousand units, from a share of 0..=1.
pub(super) fn position(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!("{:.1}", share * 1000.0)
}

/// A number without digits that say nothing.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == size.trunc() => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}
