//! What figures, signs and sentences say about the layer. Each rule stands alone; the first that applies counts. Where
//! what was seen fits more than one layer, no rule applies.

use serde_json::Value;
use verdict::text::thousands;
use verdict::{Outcome, SplitVerdict};

use super::requests::{self, of_requests};
use super::{Guess, Layer, Scene};
use crate::report::event::CheckReport;
use crate::report::figures::{self, Failover, SignKind};

/// Reads a check that did not pass.
pub(super) fn of_check(scene: &Scene<'_>, check: &CheckReport) -> Option<Guess> {
    // That something held although the mesh was changed says nothing about where the change was lost.
    if check.name.ends_with(" must be refuted") {
        return None;
    }
    let seen = &check.figures;
    if check.name.starts_with("denied") {
        return of_refusal(seen);
    }
    of_gateways(check, seen)
        .or_else(|| of_identities(seen))
        .or_else(|| of_timeline(seen))
        .or_else(|| if check.name.starts_with("failures") { None } else { of_requests(scene) })
        .or_else(|| of_split(scene, seen))
        .or_else(|| of_connection(scene, check, seen))
}

/// Something was answered that should have been refused.
fn of_refusal(seen: &Value) -> Option<Guess> {
    let answered = seen["statuses"]["200"].as_u64().unwrap_or(0) > 0
        || matches!(seen["outcome"].as_str(), Some("answered" | "connected"));
    let reason = seen["expected"]["reason"].as_str()?;
    let layer = if reason.contains("tls") { Layer::Certificate } else { Layer::Route };
    answered.then(|| Guess::new(layer, format!("requests were answered that should be refused by {reason}")))
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
    let differs =
        |group: &&Value, key: &str, side: &str| expected(side).is_some() && group[key].as_str() != expected(side);
    let other = groups.iter().find(|group| differs(group, "peer", "client") || differs(group, "server", "server"))?;
    if other["peer"].is_null() || other["server"].is_null() {
        return Some(Guess::new(Layer::Certificate, "answers came without mutual TLS"));
    }
    let text = |key: &str| other[key].as_str().unwrap_or("nobody").to_owned();
    Some(Guess::new(
        Layer::Certificate,
        format!("the certificates were those of {} and {}", text("peer"), text("server")),
    ))
}

/// Shares that are off although every request was answered.
fn of_split(scene: &Scene<'_>, seen: &Value) -> Option<Guess> {
    let split: SplitVerdict = figures::read(seen, "split")?;
    let refuted = || split.categories.iter().filter(|category| category.outcome == Outcome::Fail);
    if refuted().any(|category| category.category == "failed") {
        return None;
    }
    if let Some(missing) = refuted().find(|category| category.count == 0 && category.target > 0.0) {
        let what = format!("{} got nothing of {} requests", missing.category, thousands(split.n));
        return of_missing(scene, &missing.category, &what);
    }
    if let Some(stray) = refuted().find(|category| category.count > 0 && category.target <= 0.0) {
        let what = format!("{} got {} requests and should get none", stray.category, stray.count);
        return Some(Guess::new(Layer::Route, what));
    }
    let off = refuted().next()?;
    let found = format!("{} got {:.1} % and should get {:.1} %", off.category, off.share * 100.0, off.target);
    Some(Guess::new(Layer::Route, format!("everybody was reached, with other weights: {found}")))
}

/// Somebody got nothing: because others took his place, or because nothing was sent to him.
fn of_missing(scene: &Scene<'_>, category: &str, what: &str) -> Option<Guess> {
    let (version, cluster) = category.rsplit_once('@').unwrap_or((category, ""));
    let remote = !cluster.is_empty() && Some(cluster) != scene.source_cluster();
    let guess = scene.sign(|sign| match sign.kind {
        SignKind::LinkDisturbed => remote,
        SignKind::GatewayDown => remote && sign.cluster.as_deref() == Some(cluster),
        SignKind::ClusterNotWatched => sign.of == cluster && sign.cluster.as_deref() == scene.source_cluster(),
        SignKind::WorkloadCrashes | SignKind::WorkloadDown => {
            let there = cluster.is_empty() || sign.cluster.as_deref() == Some(cluster);
            there && scene.is_asked(&sign.of) && sign.of.split('-').any(|part| part == version)
        }
        // Those are about requests that failed.
        _ => false,
    });
    let because = guess.map(|guess| Guess::new(guess.layer, format!("{what}; {}", guess.because)));
    because.or_else(|| {
        let why = "its pods are ready and its cluster is watched, so nothing was sent there";
        scene.is_in_order().then(|| Guess::new(Layer::Route, format!("{what}; {why}")))
    })
}

/// A connection that should have ended otherwise.
fn of_connection(scene: &Scene<'_>, check: &CheckReport, seen: &Value) -> Option<Guess> {
    let outcome = seen.get("address").and(seen.get("outcome"))?.as_str()?;
    let because = |what: &str| {
        format!("the connection to {} ended as `{outcome}`: {what}", seen["address"].as_str().unwrap_or("it"))
    };
    let expected = |word: &str| seen["expected"].as_array().is_some_and(|words| words.iter().any(|one| one == word));
    let layer = match outcome {
        "answered" | "connected" if check.name.starts_with("reached") && check.outcome == Outcome::Fail => {
            (Layer::Network, "another network is reached without a gateway")
        }
        "answered" | "connected" if expected("reset") => (Layer::Certificate, "plaintext was taken"),
        "timeout" | "unreachable" => (Layer::Network, "no packet came back"),
        "reset" if seen["meshed"] == true => (Layer::Certificate, "the proxy of the pod refused plaintext"),
        // The pod is there, for its network answered; its program does not listen.
        "refused" => match scene.sign(|sign| sign.kind == SignKind::WorkloadCrashes) {
            Some(guess) => return Some(Guess::new(guess.layer, because(&guess.because))),
            None => (Layer::Application, "the pod is there and nobody listens on the port"),
        },
        _ => return None,
    };
    Some(Guess::new(layer.0, because(layer.1)))
}

/// Answers of a failover that came from somebody who should not have been asked.
fn of_timeline(seen: &Value) -> Option<Guess> {
    let failover = figures::read::<Failover>(seen, "failover")?;
    let budget = failover.budgets.iter().find(|budget| budget.outcome == Outcome::Fail)?;
    let wrong = budget.name.contains("wrong");
    wrong.then(|| Guess::new(Layer::Route, format!("the budget for {} was exceeded", budget.name)))
}

/// Words of errors that belong to one layer only, as Kubernetes, Envoy and the mesh use them.
const WORDS: [(&str, Layer); 12] = [
    ("is not watched", Layer::RemoteSecret),
    ("is still watched", Layer::RemoteSecret),
    ("unknown authority", Layer::Certificate),
    ("certificate has expired", Layer::Certificate),
    ("does not hold the endpoint", Layer::Endpoints),
    ("still holds the endpoint", Layer::Endpoints),
    ("no running pod", Layer::Endpoints),
    ("network is unreachable", Layer::Network),
    ("no route to host", Layer::Network),
    ("rejected cds", Layer::Route),
    ("rejected lds", Layer::Route),
    ("rejected rds", Layer::Route),
];

/// Reads the message of an error.
pub(super) fn of_message(message: &str) -> Option<Guess> {
    let lower = message.to_lowercase();
    let found = WORDS.iter().find(|(words, _)| lower.contains(words));
    let found = found.map(|(words, layer)| Guess::new(*layer, format!("the message says \"{words}\"")));
    found.or_else(|| requests::of_words(&lower))
}
