//! The timeline of a failover: who answered when, the gap, the slowest answers, and what it was allowed to cost.

use maud::{Markup, html};
use serde_json::Value;
use verdict::Outcome;
use verdict::text::thousands;

use super::charts::{chip, number, position, span, upright};
use super::limits::Limits;
use crate::report::figures::{self, Budget, Failover, Moment, TimelineBin, Unit};

/// Bins that a chart can show; more are left out at the end.
const BINS: usize = 600;
/// Height of the chart.
const HEIGHT: f64 = 160.0;

pub(super) fn chart(seen: &Value, limits: &Limits) -> Markup {
    let failover: Option<Failover> = figures::read(seen, "failover");
    html! { @if let Some(failover) = failover { (figure(&failover, limits)) } }
}

fn figure(failover: &Failover, limits: &Limits) -> Markup {
    let totals = failover.totals;
    html! {
        figure.failover {
            (requests(failover, limits))
            (moments(failover, limits))
            figcaption {
                (number(failover.rate)) " requests a second for " (number(failover.duration_ms / 1000.0)) " s, whether or not earlier ones were answered; what is shorter than "
                (number(failover.resolution_ms)) " ms is not seen. " (thousands(totals.good)) " good, " (thousands(totals.slow)) " slow, "
                (thousands(totals.wrong)) " wrong, " (thousands(totals.lost)) " lost of " (thousands(totals.requests)) "."
            }
            @if failover.bins.iter().any(|bin| bin.slowest_ms.is_some()) { (slowest(failover)) }
            (budgets(&failover.budgets, limits))
        }
    }
}

fn requests(failover: &Failover, limits: &Limits) -> Markup {
    let tallest = failover.bins.iter().map(height).max().unwrap_or(0).max(1) as f64;
    let gap = failover.gap.map(|gap| (gap, number(gap.to_ms - gap.from_ms)));
    let spoken = match &gap {
        Some((gap, width)) => {
            format!("Requests over time; no good answer for {width} ms from {} ms on", number(gap.from_ms))
        }
        None => "Requests over time; no gap".to_owned(),
    };
    html! {
        ul.legend {
            @for (index, target) in failover.targets.iter().take(limits.entries).enumerate() { li { span class=(format!("key target{}", index % 4)) {} " " (limits.clip(target)) } }
            li { span.key.lost {} " lost" }
            @if failover.totals.wrong > 0 { li { span.key.wrong {} " of these, wrong target" } }
            @if gap.is_some() { li { span.key.gap {} " gap" } }
        }
        div.plot {
            @if let Some((gap, width)) = &gap {
                p.gap style=(format!("left:{:.1}%", (gap.from_ms / failover.duration_ms.max(1.0) * 100.0).clamp(0.0, 70.0))) { "gap " (width) " ms" }
            }
            svg viewBox=(format!("0 0 1000 {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(spoken) {
                @if let Some((gap, _)) = &gap {
                    rect.gap x=(x(failover, gap.from_ms)) y="0" height=(HEIGHT)
                        width=(position(((gap.to_ms - gap.from_ms) / failover.duration_ms.max(1.0)).max(0.002))) {}
                }
                @for (index, bin) in failover.bins.iter().take(BINS).enumerate() { (column(failover, index, bin, tallest)) }
                @for moment in std::iter::once(&failover.fault).chain(&failover.healed) {
                    (upright("moment", moment.at_ms / failover.duration_ms.max(1.0), HEIGHT))
                }
            }
            div.axis aria-hidden="true" { span { "0 s" } span { (number(failover.duration_ms / 1000.0)) " s" } }
        }
        (Limits::note(BINS, failover.bins.len(), "bins"))
    }
}

fn x(failover: &Failover, at_ms: f64) -> String {
    position(at_ms / failover.duration_ms.max(1.0))
}

fn height(bin: &TimelineBin) -> u64 {
    bin.answered.iter().sum::<u64>() + bin.lost
}

fn column(failover: &Failover, index: usize, bin: &TimelineBin, tallest: f64) -> Markup {
    let (start, width) = bin_span(failover, index);
    let mut top = HEIGHT;
    let mut parts = Vec::new();
    let classes = bin.answered.iter().enumerate().map(|(target, count)| (format!("target{}", target % 4), *count));
    for (class, count) in classes.chain([("lost".to_owned(), bin.lost)]).filter(|(_, count)| *count > 0) {
        let tall = count as f64 / tallest * HEIGHT;
        top -= tall;
        parts.push((class, format!("{top:.1}"), format!("{tall:.1}")));
    }
    let wrong = bin.wrong as f64 / tallest * HEIGHT;
    html! {
        @for (class, top, tall) in parts { rect class=(class) x=(start) y=(top) width=(width) height=(tall) {} }
        @if bin.wrong > 0 { rect.wrong x=(start) y=(format!("{:.1}", HEIGHT - wrong)) width=(width) height=(format!("{wrong:.1}")) {} }
    }
}

fn bin_span(failover: &Failover, index: usize) -> (String, String) {
    let share = |index: usize| index as f64 * failover.bin_ms / failover.duration_ms.max(1.0);
    span(share(index), share(index + 1))
}

fn moments(failover: &Failover, limits: &Limits) -> Markup {
    let marked = std::iter::once(&failover.fault).chain(&failover.healed);
    let mut all: Vec<&Moment> = marked.chain(&failover.moments).collect();
    all.sort_by(|left, right| left.at_ms.total_cmp(&right.at_ms));
    html! { ul.moments { @for moment in all.into_iter().take(limits.entries) { li { span.figure { (number(moment.at_ms)) " ms" } " " (limits.clip(&moment.what)) } } } }
}

/// The slowest answer of each bin.
fn slowest(failover: &Failover) -> Markup {
    let bins = || failover.bins.iter().take(BINS).enumerate().filter_map(|(index, bin)| Some((index, bin.slowest_ms?)));
    let most = bins().map(|(_, slowest)| slowest).fold(1.0, f64::max);
    html! {
        p { "Slowest answer, at most " (number(most)) " ms:" }
        svg.slowest viewBox="0 0 1000 60" preserveAspectRatio="none" role="img" aria-label=(format!("Slowest answers over time, at most {} ms", number(most))) {
            rect.rail x="0" y="59" width="1000" height="1" {}
            @for (index, slowest) in bins() {
                @let (start, width) = bin_span(failover, index);
                rect.slow x=(start) y=(format!("{:.1}", 60.0 - slowest / most * 60.0)) width=(width) height=(format!("{:.1}", slowest / most * 60.0)) {}
            }
        }
    }
}

fn budgets(budgets: &[Budget], limits: &Limits) -> Markup {
    // What is counted says its name; the column must be narrow enough for a phone.
    let unit = |unit: Unit| match unit {
        Unit::Ms => " ms",
        Unit::Requests => "",
    };
    html! {
        @if !budgets.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Budgets" { table {
                thead { tr { th scope="col" { "Budget" } th scope="col" { "Measured" } th scope="col" { "At most" } th scope="col" { "Verdict" } } }
                tbody { @for budget in budgets.iter().take(limits.entries) { tr {
                    th scope="row" { (limits.clip(&budget.name)) }
                    td.figure { @match budget.measured { Some(measured) => { (number(measured)) (unit(budget.unit)) }, None => "never" } }
                    td.figure { (number(budget.limit)) (unit(budget.unit)) }
                    td { (chip(match budget.outcome { Outcome::Pass => "good", Outcome::Fail => "bad", Outcome::Inconclusive => "doubt" }, budget.outcome.word())) }
                } } }
            } }
        }
    }
}
