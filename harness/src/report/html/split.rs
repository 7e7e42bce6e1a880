//! Split bars: for each category its share with the exact interval, over the band that was expected.

use maud::{Markup, html};
use serde_json::Value;
use verdict::text::{points, thousands};
use verdict::{CategoryVerdict, SplitVerdict};

use super::charts::position;
use super::limits::Limits;
use crate::report::figures;

pub(super) fn chart(seen: &Value, limits: &Limits) -> Markup {
    let split: Option<SplitVerdict> = figures::read(seen, "split");
    html! {
        @if let Some(split) = split {
            figure.split {
                @for category in split.categories.iter().take(limits.entries) { (row(category, split.n, limits)) }
                div.axis aria-hidden="true" { @for percent in ["0 %", "25 %", "50 %", "75 %", "100 %"] { span { (percent) } } }
                figcaption {
                    "Shares of " (thousands(split.n)) " samples, " (thousands(split.planned)) " planned: "
                    span.key.band {} " expected, with its margin; " span.key.interval {} " exact interval; " span.key.share {} " share."
                }
            }
            (Limits::note(limits.entries, split.categories.len(), "categories"))
        }
    }
}

fn row(category: &CategoryVerdict, n: u64, limits: &Limits) -> Markup {
    let class = match category.outcome {
        verdict::Outcome::Pass => "good",
        verdict::Outcome::Fail => "bad",
        verdict::Outcome::Inconclusive => "doubt",
    };
    let (target, margin) = (category.target / 100.0, category.margin / 100.0);
    let (low, high) = ((target - margin).max(0.0), (target + margin).min(1.0));
    let interval = category.interval;
    html! {
        div.row {
            p.words {
                strong { (limits.clip(&category.category)) } " "
                span class=(class) { (percent(category.share)) } " "
                span.muted {
                    (thousands(category.count)) " of " (thousands(n)) ", interval " (percent(interval.low)) " to " (percent(interval.high))
                    ", expected " (points(category.target)) " % ± " (points(category.margin))
                }
            }
            svg viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true" {
                rect.rail x="0" y="11" width="1000" height="2" {}
                @for line in [250, 500, 750] { rect.rail x=(line) y="0" width="1" height="24" {} }
                rect.band x=(position(low)) y="1" width=(position(high - low)) height="22" {}
                rect.target x=(position(target)) y="0" width="2" height="24" {}
                rect class=(format!("interval {class}")) x=(position(interval.low)) y="7" height="10"
                    width=(position((interval.high - interval.low).max(0.003))) {}
                rect.share x=(position((category.share - 0.0015).max(0.0))) y="3" width="3" height="18" {}
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
