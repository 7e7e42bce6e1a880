//! Judges mutual TLS by every witness that there is: the servers' side, the certificates, the gateways, the link. Pure.
//!
//! Any of them can refute it. It is proved only when none of those that are asked for is silent.

use serde_json::{Value, json};
use verdict::Outcome;
use verdict::text::thousands;

use super::judge::{Judgement, gateway_figures};
use super::observation::TrafficObservation;
use super::peers::{self, Compared};
use super::witness::{Capture, LinkSeen};
use crate::scenario::plan::{Capturing, Gateway, Identity, MutualTls, Peer};
use crate::topology::Workload;
use crate::traffic::probe::Samples;

/// An HTTP request in a TLS record is never smaller, in bytes: a gateway that passed on less did not carry them all.
const SMALLEST_REQUEST: u64 = 40;

/// What a witness says.
type Said = (Outcome, String);

pub(super) fn mutual_tls(expected: &MutualTls, seen: &TrafficObservation) -> Judgement {
    let mut said: Vec<Said> = vec![parties(expected, seen)];
    said.extend(expected.issuer.as_ref().map(|cluster| issuer(cluster, expected, seen)));
    for gateway in &expected.through {
        said.push(passage(gateway, seen));
    }
    if expected.capture != Capturing::No {
        said.push(captured(expected, seen));
    }
    let handshakes = seen.witnesses.handshakes(&expected.client, &expected.server).map(|counted| {
        format!(
            "the proxies of the client counted {} new handshakes, those of the server {}; {} failed",
            thousands(counted.client),
            thousands(counted.server),
            thousands(counted.failed)
        )
    });
    let outcome = Outcome::all(said.iter().map(|(outcome, _)| *outcome));
    // The cause comes first.
    said.sort_by_key(|(said, _)| *said != outcome);
    let evidence = said.into_iter().map(|(_, sentence)| sentence).chain(handshakes).collect();
    Judgement { outcome, evidence, figures: figures(expected, seen) }
}

fn figures(expected: &MutualTls, seen: &TrafficObservation) -> Value {
    json!({
        "expected": { "client": expected.client, "server": expected.server, "issuer": expected.issuer },
        "groups": seen.parties(),
        "gateways": gateway_figures(seen),
        "certificates": seen.witnesses.certificates_of(&expected.client).collect::<Vec<_>>(),
        "handshakes": seen.witnesses.handshakes(&expected.client, &expected.server),
        "links": seen.witnesses.links(),
    })
}

fn parties(expected: &MutualTls, seen: &TrafficObservation) -> Said {
    let id = |id: &String| Some(Peer::Id(id.clone()));
    let identity = Identity { client: id(&expected.client), server: id(&expected.server) };
    match peers::compare(&identity, seen) {
        Compared::Unseen(why) => (Outcome::Inconclusive, format!("not observable: {why}")),
        Compared::Unlike(what) => (Outcome::Fail, format!("refuted: {what}")),
        Compared::Alike { count, unit } => {
            let sentence = format!(
                "proved: in all {} {unit} the server's proxy verified {} and presented {}",
                thousands(count),
                expected.client,
                expected.server
            );
            (Outcome::Pass, sentence)
        }
    }
}

/// The certificate that the servers saw is one that a proxy holds, and the authority of the cluster signed it.
fn issuer(cluster: &str, expected: &MutualTls, seen: &TrafficObservation) -> Said {
    let mut hashes: Vec<Option<&str>> = seen.parties().into_iter().map(|group| group.certificate.as_deref()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return (Outcome::Inconclusive, "not observable: no server saw a certificate".to_owned());
    }
    let mut holders = Vec::new();
    for hash in hashes {
        let Some(hash) = hash else {
            return (Outcome::Fail, "refuted: a server saw no certificate of the client".to_owned());
        };
        let Some(certificate) = seen.witnesses.certificates_of(&expected.client).find(|one| one.hash == hash) else {
            let sentence = format!("not observable: no proxy of {} holds the certificate {hash}", expected.client);
            return (Outcome::Inconclusive, sentence);
        };
        if !certificate.signed_by.iter().any(|signer| signer == cluster) {
            let signers = certificate.signed_by.join(" and ");
            let signers = if signers.is_empty() { "none of the clusters".to_owned() } else { signers };
            let sentence = format!(
                "refuted: the client's certificate is that of {}, signed by {signers} ({}); expected {cluster}",
                certificate.holder, certificate.issuer
            );
            return (Outcome::Fail, sentence);
        }
        holders.push(format!("{} ({})", certificate.holder, certificate.issuer));
    }
    (Outcome::Pass, format!("the authority of {cluster} signed the certificate of {}", holders.join(" and ")))
}

/// Answers that came from a gateway's cluster to sources elsewhere.
fn beyond(gateway: &Gateway, seen: &TrafficObservation) -> u64 {
    answers(&gateway.cluster, seen, |source| source.place() != gateway.cluster)
}

/// Answers that came over a link.
fn over(capture: &Capture, seen: &TrafficObservation) -> u64 {
    answers(&capture.gateway.cluster, seen, |source| capture.from.contains(source.place()))
}

/// Answers of a cluster to some sources.
fn answers(cluster: &str, seen: &TrafficObservation, to: impl Fn(&Workload) -> bool) -> u64 {
    let of_cluster = |samples: &Samples| {
        samples.counts(|group| group.cluster.clone().unwrap_or_default()).remove(cluster).unwrap_or(0)
    };
    seen.sources.iter().filter(|one| to(&one.source)).map(|one| of_cluster(&one.samples)).sum()
}

/// The gateway passed on what was answered from beyond it.
fn passage(gateway: &Gateway, seen: &TrafficObservation) -> Said {
    let beyond = beyond(gateway, seen);
    let bytes = seen.gateway(gateway).bytes_passed_on;
    let name = format!("{} of {}", gateway.kind.deployment(), gateway.cluster);
    let came = format!("{} answers came from {}", thousands(beyond), gateway.cluster);
    if beyond == 0 {
        (Outcome::Inconclusive, format!("not observable: no answer came from beyond {name}"))
    } else if bytes < beyond * SMALLEST_REQUEST {
        let sentence = format!("{came}, but {name} passed on {} bytes only: not all came through it", thousands(bytes));
        (Outcome::Fail, sentence)
    } else {
        (Outcome::Pass, format!("{came}; {name} passed on {} bytes that it cannot read", thousands(bytes)))
    }
}

/// No link between the networks carried a request in plain text.
fn captured(expected: &MutualTls, seen: &TrafficObservation) -> Said {
    let captures = seen.witnesses.captures.iter().filter(|capture| {
        let sends = |source: &Workload| capture.from.contains(source.place());
        expected.through.contains(&capture.gateway) && seen.sources.iter().any(|one| sends(&one.source))
    });
    let said: Vec<Said> = captures.map(|capture| on_link(capture, over(capture, seen))).collect();
    let worst = Outcome::all(said.iter().map(|(outcome, _)| *outcome));
    match said.into_iter().find(|(outcome, _)| *outcome == worst) {
        Some(said) => said,
        None => (Outcome::Inconclusive, "not observable: no link between networks was captured".to_owned()),
    }
}

fn on_link(capture: &Capture, beyond: u64) -> Said {
    let [from, to] = &capture.between;
    let link = format!("the link between {from} and {to}");
    let seen = match &capture.seen {
        Ok(seen) => seen,
        Err(why) => return (Outcome::Inconclusive, format!("not observable: {link} was not captured: {why}")),
    };
    let LinkSeen { packets, bytes, missed, to_gateway, from_gateway, hits, first } = seen;
    let whole = format!(
        "{} packets with {} bytes on {link}, {} bytes of them to the gateway and {} back",
        thousands(*packets),
        thousands(*bytes),
        thousands(*to_gateway),
        thousands(*from_gateway)
    );
    if *hits > 0 {
        let place = first.as_ref().map(|flow| format!(", first from {} to {}", flow.source, flow.destination));
        let sentence = format!(
            "refuted: the requests' marker {} was read {} times in plaintext among {whole}{}",
            capture.marker,
            thousands(*hits),
            place.unwrap_or_default()
        );
        (Outcome::Fail, sentence)
    } else if *missed > 0 {
        (Outcome::Inconclusive, format!("not observable: the capture lacks {missed} packets or segments of {whole}"))
    } else if (*to_gateway).min(*from_gateway) < beyond.max(1) * SMALLEST_REQUEST {
        (Outcome::Inconclusive, format!("not observable: only {whole}; {} answers came that way", thousands(beyond)))
    } else {
        (Outcome::Pass, format!("the requests' marker {} is nowhere among {whole}", capture.marker))
    }
}

#[cfg(test)]
mod tests;
