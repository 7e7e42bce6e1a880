//! What requests without a good answer say about the layer: who answered in place of the application, and how.

use verdict::text::thousands;

use super::{Guess, Layer, Scene};
use crate::report::figures::{Failed, Sign, SignKind};

/// Reads the failures of a step's requests, the most frequent first.
pub(super) fn of_requests(scene: &Scene<'_>) -> Option<Guess> {
    let failures = scene.step.traffic.iter().flat_map(|traffic| &traffic.failures);
    failures.into_iter().find_map(|failed| of_failed(scene, failed))
}

fn of_failed(scene: &Scene<'_>, failed: &Failed) -> Option<Guess> {
    let told = told(failed);
    let words = failed.words.as_deref().unwrap_or_default().to_lowercase();
    let flag = |name: &str| failed.flags.iter().flat_map(|flags| flags.split(',')).any(|flag| flag == name);
    if let Some(guess) = of_words(&words) {
        return Some(Guess::new(guess.layer, told));
    }
    if failed.error.as_deref() == Some("tls") {
        return Some(Guess::new(Layer::Certificate, told));
    }
    if flag("FI") {
        return Some(Guess::new(Layer::Route, format!("{told}, which a VirtualService asks for")));
    }
    if let Some(pod) = &failed.by {
        return Some(Guess::new(Layer::Application, format!("{told}, from the application in {pod} itself")));
    }
    // Envoy has words for everything but a route that is missing or leads to no cluster.
    let silent = failed.words.as_deref() == Some("");
    if flag("NR") || (failed.status == Some(404) && silent) {
        return Some(Guess::new(Layer::Route, format!("{told}, from a proxy that has no route")));
    }
    if flag("NC") || (failed.status == Some(503) && silent) {
        return Some(Guess::new(Layer::Route, format!("{told}, from a proxy whose route leads to no cluster")));
    }
    if !was_not_reached(failed) {
        return None;
    }
    // What a proxy on the way counted of these very requests says more than what else is out of order.
    let sign = scene.sign_of_requests().or_else(|| scene.sign(|sign| explains(scene, sign)));
    if let Some(sign) = sign {
        return Some(Guess::new(sign.layer, format!("{told}; {}", sign.because)));
    }
    let refused = words.contains("connection refused") || failed.error.as_deref() == Some("connect-refused");
    if flag("UH") || words.contains("no healthy upstream") {
        Some(Guess::new(Layer::Endpoints, told))
    } else if vanished(failed, &words) {
        Some(Guess::new(Layer::Network, format!("{told}: no packet came back")))
    } else if refused && scene.is_in_order() {
        let why = "every pod is ready, but nobody listens on the port";
        Some(Guess::new(Layer::Application, format!("{told}; {why}")))
    } else {
        None
    }
}

/// Whether something that is out of order can be why requests of a step reached nobody.
fn explains(scene: &Scene<'_>, sign: &Sign) -> bool {
    match sign.kind {
        SignKind::ClusterNotWatched => sign.cluster.as_deref() == scene.source_cluster(),
        SignKind::WorkloadCrashes | SignKind::WorkloadDown => scene.is_asked(&sign.of),
        _ => true,
    }
}

/// Words of Envoy that belong to one layer only, in small letters.
pub(super) fn of_words(words: &str) -> Option<Guess> {
    let rules = [
        ("certificate_verify_failed", Layer::Certificate),
        ("tls_error", Layer::Certificate),
        ("rbac: access denied", Layer::Route),
        ("fault filter abort", Layer::Route),
    ];
    let (said, layer) = rules.into_iter().find(|(said, _)| words.contains(said))?;
    Some(Guess::new(layer, format!("the message says \"{said}\"")))
}

/// Whether the request got to nobody who could have answered: what is out of order may then be the cause.
fn was_not_reached(failed: &Failed) -> bool {
    matches!(failed.status, Some(502..=504)) || failed.error.as_deref().is_some_and(|class| class != "protocol")
}

fn vanished(failed: &Failed, words: &str) -> bool {
    words.contains("connection timeout")
        || matches!(failed.error.as_deref(), Some("connect-timeout" | "connect-unreachable"))
}

/// The failure as a part of a sentence.
fn told(failed: &Failed) -> String {
    let what = match (&failed.status, &failed.error) {
        (Some(status), _) => format!("{} answers had status {status}", thousands(failed.count)),
        (None, error) => {
            format!("{} requests ended with `{}`", thousands(failed.count), error.as_deref().unwrap_or("an error"))
        }
    };
    match failed.words.as_ref().filter(|words| !words.is_empty()) {
        Some(words) => format!("{what} (\"{}\")", words.trim()),
        None => what,
    }
}
