//! Judges headers: every exchange must have them. Pure.

use std::collections::BTreeMap;

use serde_json::json;
use verdict::Outcome;
use verdict::text::thousands;

use super::judge::Judgement;
use super::observation::TrafficObservation;
use crate::scenario::plan::{Header, Headers};
use crate::traffic::samples::Headers as Seen;

/// Every answer, and every request as its server got it, has the headers that it must have.
pub(super) fn headers(expected: &Headers, seen: &TrafficObservation) -> Judgement {
    let exchanges = &seen.samples.exchanges;
    let total: u64 = exchanges.iter().map(|one| one.count).sum();
    let figures = json!({ "expected": expected, "exchanges": exchanges });
    if total == 0 {
        return Judgement::new(Outcome::Inconclusive, "not observable: no request was answered", figures);
    }
    let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
    let mut silent = 0;
    for one in exchanges {
        let mut unfit = unfit("the answer", &expected.response, &one.response);
        match &one.request {
            Some(request) => unfit.extend(self::unfit("the request at the server", &expected.request, request)),
            None => silent += one.count,
        }
        for sentence in unfit {
            *wrong.entry(sentence).or_default() += one.count;
        }
    }
    if !wrong.is_empty() {
        let evidence = wrong.into_iter().map(|(sentence, count)| format!("{} times {sentence}", thousands(count)));
        return Judgement { outcome: Outcome::Fail, evidence: evidence.collect(), figures };
    }
    if silent > 0 && !expected.request.is_empty() {
        let sentence = format!("not observable: {} answers do not say what their server got", thousands(silent));
        return Judgement::new(Outcome::Inconclusive, sentence, figures);
    }
    if total < seen.samples.answered {
        let sentence =
            format!("only {} of {} exchanges were looked at", thousands(total), thousands(seen.samples.answered));
        return Judgement::new(Outcome::Inconclusive, sentence, figures);
    }
    Judgement::new(Outcome::Pass, format!("all {} exchanges had {expected}", thousands(total)), figures)
}

fn unfit(side: &str, expected: &BTreeMap<String, Header>, seen: &Seen) -> Vec<String> {
    let sentence = |(name, header): (&String, &Header)| {
        let values = seen.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = if values.is_empty() { "nothing".to_owned() } else { format!("`{}`", values.join("`, `")) };
        (!header.fits(values)).then(|| format!("{name} of {side} was {found}; expected {header}"))
    };
    expected.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::samples::{Exchanges, Samples};

    fn seen(request: Option<&[(&str, &str)]>, response: &[(&str, &str)]) -> TrafficObservation {
        let map = |pairs: &[(&str, &str)]| {
            let mut all = Seen::new();
            for (name, value) in pairs {
                all.entry((*name).to_owned()).or_default().push((*value).to_owned());
            }
            all
        };
        let exchange = Exchanges { status: 200, response: map(response), request: request.map(map), count: 10 };
        let samples = Samples { requests: 10, answered: 10, exchanges: vec![exchange], ..Samples::default() };
        TrafficObservation { samples, ..TrafficObservation::default() }
    }

    fn expected(request: &[(&str, Header)], response: &[(&str, Header)]) -> Headers {
        let map = |pairs: &[(&str, Header)]| {
            pairs.iter().map(|(name, header)| ((*name).to_owned(), header.clone())).collect()
        };
        Headers { request: map(request), response: map(response) }
    }

    #[test]
    fn both_sides_must_fit() {
        let wanted = expected(
            &[("x-added", Header::Equals("one".to_owned())), ("x-gone", Header::Absent), ("x-id", Header::Present)],
            &[("server", Header::Contains("envoy".to_owned()))],
        );
        let good = seen(Some(&[("x-added", "one"), ("x-id", "7")]), &[("server", "istio-envoy")]);
        assert_eq!(headers(&wanted, &good).outcome, Outcome::Pass);
        let bad = seen(Some(&[("x-added", "one"), ("x-added", "one"), ("x-gone", "here")]), &[]);
        let judged = headers(&wanted, &bad);
        assert_eq!(judged.outcome, Outcome::Fail);
        assert_eq!(
            judged.evidence,
            [
                "10 times server of the answer was nothing; expected something with `envoy`",
                "10 times x-added of the request at the server was `one`, `one`; expected `one`",
                "10 times x-gone of the request at the server was `here`; expected nothing",
                "10 times x-id of the request at the server was nothing; expected anything",
            ]
        );
    }

    #[test]
    fn what_was_not_seen_proves_nothing() {
        let wanted = expected(&[("x-gone", Header::Absent)], &[]);
        assert_eq!(headers(&wanted, &seen(None, &[])).outcome, Outcome::Inconclusive);
        assert_eq!(headers(&wanted, &TrafficObservation::default()).outcome, Outcome::Inconclusive);
        let mut some = seen(Some(&[]), &[]);
        some.samples.answered = 11;
        assert_eq!(headers(&wanted, &some).outcome, Outcome::Inconclusive);
        // The answers themselves say what the client got.
        let wanted = expected(&[], &[("x-gone", Header::Absent)]);
        assert_eq!(headers(&wanted, &seen(None, &[])).outcome, Outcome::Pass);
    }
}
