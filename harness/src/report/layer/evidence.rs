//! What figures and sentences say about the layer. Each rule stands alone; the first that applies counts.

use serde_json::Value;
use verdict::text::thousands;
use verdict::{Outcome, SplitVerdict};

use super::{Guess, Layer};
use crate::report::event::CheckReport;
use crate::report::figures::{self, Failover, Latency};
use crate::report::record::StepRecord;

/// Reads the figures of a check that did not pass.
pub(super) fn of_figures(step: &StepRecord, check: &CheckReport) -> Option<Guess> {
    let seen = &check.figures;
    of_gateways(check, seen)
        .or_else(|| of_identities(seen))
        .or_else(|| of_answers(seen))
        .or_else(|| of_split(step, seen))
        .or_else(|| of_connection(check, seen))
        .or_else(|| of_timeline(seen))
}

/// Counters of gateways that grew although nothing should fail there.
fn of_gateways(check: &CheckReport, seen: &Value) -> Option<Guess> {
    for gateway in seen.get("gateways")?.as_array()? {
        let counter = |name: &str| gateway["counters"][name].as_u64().unwrap_or(0);
        let place = format!("the gateway of {}", gateway["gateway"]["cluster"].as_str().unwrap_or("a cluster"));
        let rules = [
            ("tlsErrors", Layer::Certificate, "TLS handshakes that failed"),
            ("noFilterChainMatch", Layer::Gateway, "connections for which it has no filter chain"),
            ("noHealthyUpstream", Layer::Endpoints, "connections without a healthy endpoint"),
        ];
        for (name, layer, what) in rules {
            if counter(name) > 0 {
                return Some(Guess::new(layer, format!("{place} counted {} {what}", counter(name))));
            }
        }
        let bypassed = check.evidence.iter().any(|sentence| sentence.contains("not all came through it"));
        if bypassed {
            return Some(Guess::new(Layer::Gateway, format!("answers did not come through {place}")));
        }
    }
    None
}

/// Answers whose server saw no identity or another than expected.
fn of_identities(seen: &Value) -> Option<Guess> {
    let groups = seen.get("groups")?.as_array()?;
    let expected = |side: &str| seen["expected"][side].as_str();
    let plain = groups.iter().any(|group| group["peer"].is_null() || group["server"].is_null());
    if plain {
        return Some(Guess::new(Layer::Certificate, "answers came without mutual TLS"));
    }
    let differs =
        |group: &&Value| group["peer"].as_str() != expected("client") || group["server"].as_str() != expected("server");
    let other = groups.iter().find(differs)?;
    let text = |key: &str| other[key].as_str().unwrap_or("nobody").to_owned();
    Some(Guess::new(
        Layer::Certificate,
        format!("the certificates were those of {} and {}", text("peer"), text("server")),
    ))
}

/// Statuses and errors of requests.
fn of_answers(seen: &Value) -> Option<Guess> {
    let counted = |key: &str| {
        let entries = seen.get(key).and_then(Value::as_object).into_iter().flatten();
        let mut entries: Vec<(String, u64)> = entries
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        entries.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        entries
    };
    let status = counted("statuses").into_iter().find_map(|(status, count)| {
        let layer = match status.as_str() {
            "403" | "404" | "426" => Layer::Route,
            "503" => Layer::Endpoints,
            "504" => Layer::Network,
            "500" | "501" | "502" => Layer::Application,
            _ => return None,
        };
        Some(Guess::new(layer, format!("{count} answers had status {status}")))
    });
    status.or_else(|| {
        counted("errors").into_iter().find_map(|(class, count)| {
            Some(Guess::new(of_class(&class)?, format!("{count} requests ended with `{class}`")))
        })
    })
}

fn of_class(class: &str) -> Option<Layer> {
    Some(match class {
        "timeout" | "connect-timeout" | "connect-unreachable" | "connect-other" | "dns" => Layer::Network,
        "connect-refused" => Layer::Endpoints,
        "reset" => Layer::Gateway,
        _ => return None,
    })
}

/// Shares that are off.
fn of_split(step: &StepRecord, seen: &Value) -> Option<Guess> {
    let split: SplitVerdict = figures::read(seen, "split")?;
    let refuted = || split.categories.iter().filter(|category| category.outcome == Outcome::Fail);
    let from = step.traffic.first().map(|traffic| traffic.from_cluster.as_str());
    if let Some(missing) = refuted().find(|category| category.count == 0 && category.target > 0.0) {
        let cluster = missing.category.rsplit('@').next().filter(|_| missing.category.contains('@'));
        let remote = cluster.is_some() && cluster != from;
        // Nothing at all of another cluster: its endpoints are not known. Something of it: one workload is.
        let others = split
            .categories
            .iter()
            .any(|category| category.count > 0 && category.category.rsplit('@').next() == cluster);
        let layer = if remote && !others { Layer::RemoteSecret } else { Layer::Endpoints };
        return Some(Guess::new(layer, format!("{} got nothing of {} requests", missing.category, thousands(split.n))));
    }
    if let Some(stray) =
        refuted().find(|category| category.count > 0 && category.target <= 0.0 && category.category != "failed")
    {
        return Some(Guess::new(
            Layer::Route,
            format!("{} got {} requests and should get none", stray.category, stray.count),
        ));
    }
    if let Some(failed) = refuted().find(|category| category.category == "failed" && category.count > 0) {
        return Some(Guess::new(Layer::Endpoints, format!("{} requests had no good answer", failed.count)));
    }
    let off = refuted().next()?;
    let found = format!("{} got {:.1} % and should get {:.1} %", off.category, off.share * 100.0, off.target);
    Some(Guess::new(Layer::Route, format!("everybody was reached, with other weights: {found}")))
}

/// A connection that should have ended otherwise.
fn of_connection(check: &CheckReport, seen: &Value) -> Option<Guess> {
    let outcome = seen.get("address").and(seen.get("outcome"))?.as_str()?;
    let reach = check.name.starts_with("reached");
    let layer = match outcome {
        "answered" | "connected" if reach => Layer::Network,
        "answered" | "connected" => Layer::Certificate,
        "timeout" | "unreachable" => Layer::Network,
        "refused" => Layer::Application,
        _ => Layer::Certificate,
    };
    Some(Guess::new(
        layer,
        format!("the connection to {} ended as `{outcome}`", seen["address"].as_str().unwrap_or("it")),
    ))
}

/// Failovers that took too long, and answers that did.
fn of_timeline(seen: &Value) -> Option<Guess> {
    if let Some(failover) = figures::read::<Failover>(seen, "failover") {
        let budget = failover.budgets.iter().find(|budget| budget.outcome == Outcome::Fail)?;
        let layer = if budget.name.contains("wrong") { Layer::Route } else { Layer::Endpoints };
        return Some(Guess::new(layer, format!("the budget for {} was exceeded", budget.name)));
    }
    let latency = figures::read::<Latency>(seen, "latency")?;
    let slow = latency.quantiles.iter().find(|quantile| quantile.limit_ms.is_some_and(|limit| quantile.ms > limit))?;
    Some(Guess::new(Layer::Application, format!("{:.1} ms at quantile {}", slow.ms, slow.quantile)))
}

/// Words of errors, as Kubernetes, Envoy and the mesh use them; the first that is found counts.
const WORDS: [(&str, Layer); 26] = [
    ("remote secret", Layer::RemoteSecret),
    ("is not watched", Layer::RemoteSecret),
    ("is still watched", Layer::RemoteSecret),
    ("certificate", Layer::Certificate),
    ("handshake", Layer::Certificate),
    ("plaintext", Layer::Certificate),
    ("spiffe", Layer::Certificate),
    ("tls", Layer::Certificate),
    ("no healthy upstream", Layer::Endpoints),
    ("no running pod", Layer::Endpoints),
    ("no endpoints", Layer::Endpoints),
    ("endpoint", Layer::Endpoints),
    ("unreachable", Layer::Network),
    ("connection refused", Layer::Network),
    ("connection reset", Layer::Network),
    ("dns", Layer::Network),
    ("timed out", Layer::Network),
    ("rejected", Layer::Route),
    ("no route", Layer::Route),
    ("rbac", Layer::Route),
    ("virtualservice", Layer::Route),
    ("destinationrule", Layer::Route),
    ("filter chain", Layer::Gateway),
    ("gateway", Layer::Gateway),
    ("crashloopbackoff", Layer::Application),
    ("not ready", Layer::Application),
];

/// Reads a sentence.
pub(super) fn of_message(message: &str) -> Option<Guess> {
    let lower = message.to_lowercase();
    let found = WORDS.iter().find(|(word, _)| contains_word(&lower, word));
    found.map(|(word, layer)| Guess::new(*layer, format!("the message says \"{word}\"")))
}

/// Whether the text has the word, not inside of another: `tls` is no part of `/bin/tlsproxy2`.
fn contains_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        let inside = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        !inside(before) && (!inside(after) || text[start + word.len()..].starts_with('s'))
    })
}
