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

/// Begin and width of what stands between two positions. The next one begins exactly where this one ends, so that no gap
/// shows between them, and none is too narrow to be seen.
pub(super) fn span(from: f64, to: f64) -> (String, String) {
    let tenths = |share: f64| {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        (share * 10_000.0).round()
    };
    let (from, to) = (tenths(from), tenths(to));
    (format!("{:.1}", from / 10.0), format!("{:.1}", (to - from).max(1.0) / 10.0))
}

/// A line across a chart at a position, as wide on a phone as on a desktop.
pub(super) fn upright(class: &str, share: f64, height: f64) -> Markup {
    html! { path class=(class) d=(format!("M{} 0V{height}", position(share))) vector-effect="non-scaling-stroke" {} }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_side_by_side_meets_exactly() {
        for count in [1, 3, 7, 274, 600] {
            let share = |index: u32| f64::from(index) / f64::from(count);
            let spans: Vec<(f64, f64)> = (0..count)
                .map(|index| span(share(index), share(index + 1)))
                .map(|(from, width)| (from.parse().expect("a number"), width.parse().expect("a number")))
                .collect();
            for pair in spans.windows(2) {
                let end: f64 = pair[0].0 + pair[0].1;
                assert!((end - pair[1].0).abs() < 1e-9, "{count}: {pair:?}");
            }
            assert!(spans.iter().all(|(_, width)| *width > 0.0));
        }
    }
}
