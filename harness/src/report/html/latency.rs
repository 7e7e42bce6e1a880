//! How long answers took: a histogram over a logarithmic axis, and quantiles with their intervals and limits.

use maud::{Markup, html};
use serde_json::Value;
use verdict::text::thousands;

use super::charts::{chip, number, span, upright};
use super::limits::Limits;
use crate::report::figures::{self, Latency, Quantile};

/// Buckets that a chart can show.
const BUCKETS: usize = 600;

pub(super) fn chart(seen: &Value, limits: &Limits) -> Markup {
    let latency: Option<Latency> = figures::read(seen, "latency");
    html! { @if let Some(latency) = latency { (figure(&latency, limits)) } }
}

fn figure(latency: &Latency, limits: &Limits) -> Markup {
    html! {
        figure.latency {
            @if !latency.buckets.is_empty() { (histogram(latency)) }
            figcaption { "Time to answer of " (thousands(latency.count)) " requests, by the time each was to be sent." }
            (Limits::note(BUCKETS, latency.buckets.len(), "buckets"))
            div.scroll tabindex="0" role="region" aria-label="Quantiles" { table {
                thead { tr { th scope="col" { "Quantile" } th scope="col" { "Time" } th scope="col" { "Interval" } th scope="col" { "At most" } } }
                tbody { @for quantile in latency.quantiles.iter().take(limits.entries) { (row(quantile)) } }
            } }
        }
    }
}

fn row(quantile: &Quantile) -> Markup {
    html! { tr {
        th scope="row" { (name(quantile)) }
        td.figure { (number(quantile.ms)) " ms" }
        td.figure { (number(quantile.low_ms)) " to " (number(quantile.high_ms)) " ms" }
        td.figure { @if let Some(limit) = quantile.limit_ms {
            (number(limit)) " ms "
            @if quantile.high_ms <= limit { (chip("good", "kept")) } @else if quantile.low_ms > limit { (chip("bad", "exceeded")) } @else { (chip("doubt", "open")) }
        } }
    } }
}

fn name(quantile: &Quantile) -> String {
    format!("p{}", number(quantile.quantile * 100.0))
}

fn histogram(latency: &Latency) -> Markup {
    let buckets = &latency.buckets[..latency.buckets.len().min(BUCKETS)];
    let bounds = || buckets.iter().map(|bucket| bucket.up_to_ms.max(0.001));
    let limits = || latency.quantiles.iter().take(20).filter_map(|quantile| quantile.limit_ms);
    let (first, last) = (bounds().fold(f64::INFINITY, f64::min) / 1.2, bounds().chain(limits()).fold(0.0, f64::max));
    // Decades have the same width, for the tail matters as much as the middle.
    let x = |milliseconds: f64| (milliseconds.max(first) / first).ln() / (last / first).ln().max(1e-9);
    let tallest = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1) as f64;
    let begins = std::iter::once(first).chain(bounds());
    let columns = buckets.iter().zip(begins).map(|(bucket, begin)| {
        let (from, to) = (x(begin), x(bucket.up_to_ms));
        let (start, width) = span(from, to.max(from + 0.002));
        (start, width, (bucket.count as f64 / tallest * 120.0).max(1.0))
    });
    html! {
        div.plot {
            svg viewBox="0 0 1000 120" preserveAspectRatio="none" role="img"
                aria-label=(format!("Histogram of the time to answer, from {} to {} ms", number(first), number(last))) {
                @for (x, width, tall) in columns { rect.slow x=(x) y=(format!("{:.1}", 120.0 - tall)) width=(width) height=(format!("{tall:.1}")) {} }
                @for quantile in latency.quantiles.iter().take(20) { (upright("moment", x(quantile.ms), 120.0)) }
                @for limit in limits() { (upright("limit", x(limit), 120.0)) }
            }
            div.axis aria-hidden="true" { span { (number(first)) " ms" } span { "logarithmic" } span { (number(last)) " ms" } }
            ul.legend {
                @if !latency.quantiles.is_empty() { li { span.key.moment {} " quantile" } }
                @if limits().next().is_some() { li { span.key.limit {} " at most" } }
            }
        }
    }
}
