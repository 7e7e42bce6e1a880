//! Requests that an expectation was not met by: the first of each kind.

use maud::{Markup, html};
use serde_json::Value;
use verdict::text::thousands;

use super::charts::number;
use super::limits::Limits;
use crate::report::figures::{self, FailingSample, FailingSamples};

pub(super) fn list(seen: &Value, limits: &Limits) -> Markup {
    let samples: Option<FailingSamples> = figures::read(seen, "samples");
    html! { @if let Some(samples) = samples { (listed(&samples, limits)) } }
}

fn listed(samples: &FailingSamples, limits: &Limits) -> Markup {
    html! {
        p { "It was not met by " (thousands(samples.count)) " requests; the first of each kind:" }
        ul.samples { @for one in samples.first.iter().take(limits.entries) { li { (request(one, limits)) } } }
        (Limits::note(limits.entries, samples.first.len(), "kinds"))
    }
}

fn request(one: &FailingSample, limits: &Limits) -> Markup {
    let came_to = match (&one.status, &one.error, &one.flags) {
        (Some(status), _, Some(flags)) => format!("status {status} ({flags})"),
        (Some(status), _, None) => format!("status {status}"),
        (None, error, _) => error.clone().unwrap_or_default(),
    };
    let parts = [&one.pod, &one.version, &one.cluster];
    let by: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    let peer = |identity: &Option<String>| limits.clip(identity.as_deref().unwrap_or("nobody"));
    html! {
        span.figure { "at " (number(one.at_ms)) " ms" } " from " (limits.clip(&one.from)) ": " strong { (limits.clip(&came_to)) }
        " after " span.figure { (number(one.took_ms)) " ms" }
        @if by.is_empty() {
            @if one.status.is_some() { ", of somebody who does not say who it is" }
        } @else {
            " of " (limits.clip(&by.join(", "))) ", which saw client " code { (peer(&one.client_identity)) }
            " and showed itself as " code { (peer(&one.server_identity)) }
        }
        @if one.count > 1 { "; " (thousands(one.count - 1)) " more like it" }
    }
}
