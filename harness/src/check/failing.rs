//! Single requests that an expectation was not met by: the first of each kind, for people to look at. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use verdict::{Outcome, SplitVerdict};

use super::judge::Judgement;
use super::observation::{Observation, OfSource, property};
use super::peers::is;
use crate::report::figures::{self, FailingSample, FailingSamples};
use crate::scenario::keys::FAILED;
use crate::scenario::plan::{Check, Expectation, Peer};
use crate::traffic::timeline::Sample;

/// Kinds that are shown.
const KINDS: usize = 10;

/// Adds them to the figures of a verdict that is no pass.
pub fn add(expectation: &Expectation, observation: &Observation, judgement: &mut Judgement) {
    let Observation::Traffic(seen) = observation else { return };
    if judgement.outcome == Outcome::Pass || !judgement.figures.is_object() {
        return;
    }
    let own = seen.sources.iter().filter(|one| expectation.from.as_ref().is_none_or(|from| *from == one.source));
    let sources: Vec<&OfSource> = own.collect();
    let found = failing(&expectation.check, &judgement.figures, &sources);
    if !found.first.is_empty() {
        judgement.figures["samples"] = json!(found);
    }
}

fn failing(check: &Check, figures: &Value, sources: &[&OfSource]) -> FailingSamples {
    let mut found = FailingSamples::default();
    let is_failing = rule(check, figures);
    for OfSource { source, samples } in sources {
        let mut shown: Vec<(usize, &crate::traffic::timeline::Target)> = Vec::new();
        for sample in samples.timeline.iter().flat_map(|timeline| timeline.samples()).filter(|one| is_failing(one)) {
            found.count += 1;
            if let Some((index, _)) = shown.iter().find(|(_, target)| *target == sample.target) {
                found.first[*index].count += 1;
            } else if found.first.len() < KINDS {
                shown.push((found.first.len(), sample.target));
                found.first.push(told(&format!("{} of {}", source.name, source.cluster), &sample));
            }
        }
    }
    found
}

/// Whether a request is one that the expectation was not met by. Of what none alone shows, none is one.
fn rule<'check>(check: &'check Check, figures: &'check Value) -> Box<dyn Fn(&Sample<'_>) -> bool + 'check> {
    let of_peers = |client: Option<Peer>, server: Option<Peer>| {
        Box::new(move |sample: &Sample<'_>| {
            let answer = &sample.target.answer;
            sample.is_good() && !(is(&client, &answer.peer) && is(&server, &answer.server))
        })
    };
    match check {
        Check::Answered(_) | Check::Cel(_) | Check::Failover(_) => Box::new(|sample| !sample.is_good()),
        Check::Failures(expected) => {
            Box::new(|sample| !sample.is_good() && !expected.status.contains(&sample.target.answer.status))
        }
        Check::Denied(expected) => {
            Box::new(|sample| !expected.reason.statuses().contains(&sample.target.answer.status))
        }
        Check::MutualTls(expected) => {
            of_peers(Some(Peer::Id(expected.client.clone())), Some(Peer::Id(expected.server.clone())))
        }
        Check::Identity(expected) => of_peers(expected.client.clone(), expected.server.clone()),
        Check::Split(split) => {
            let verdict: Option<SplitVerdict> = figures::read(figures, "split");
            let categories = verdict.into_iter().flat_map(|verdict| verdict.categories);
            let off: BTreeSet<String> = categories
                .filter(|category| category.outcome != Outcome::Pass)
                .map(|category| category.category)
                .collect();
            Box::new(move |sample| {
                let category = if sample.is_good() {
                    split.by.category(|part| property(&sample.target.answer, part))
                } else {
                    FAILED.to_owned()
                };
                off.contains(&category)
            })
        }
        Check::Latency(bounds) => {
            let most = bounds.iter().map(|bound| bound.at_most).max().unwrap_or(Duration::MAX);
            Box::new(move |sample| sample.target.error.is_none() && sample.latency() > most)
        }
        Check::Connection(_) | Check::Reached(_) | Check::Reachable(_) | Check::Headers(_) | Check::Holds(_) => {
            Box::new(|_| false)
        }
    }
}

fn told(from: &str, sample: &Sample<'_>) -> FailingSample {
    let answer = &sample.target.answer;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    FailingSample {
        from: from.to_owned(),
        at_ms: milliseconds(sample.intended),
        took_ms: milliseconds(sample.latency()),
        status: sample.target.error.is_none().then_some(answer.status),
        error: sample.target.error.clone(),
        flags: answer.response_flags.clone(),
        version: answer.version.clone(),
        cluster: answer.cluster.clone(),
        pod: answer.pod.clone(),
        client_identity: answer.peer.clone(),
        server_identity: answer.server.clone(),
        count: 1,
    }
}

#[cfg(test)]
mod tests {
    use verdict::RatePlan;

    use super::*;
    use crate::check::judge::judge_of;
    use crate::check::observation::TrafficObservation;
    use crate::diagnostic::Location;
    use crate::scenario::plan::Identity;
    use crate::topology::Workload;
    use crate::traffic::probe::{Group, Samples};
    use crate::traffic::timeline::{Row, Target, Timeline};

    fn answer(status: u16, pod: &str, peer: Option<&str>) -> Target {
        let (pod, peer) = (Some(pod.to_owned()), peer.map(str::to_owned));
        Target { error: None, answer: Group { status, pod, peer, ..Group::default() } }
    }

    fn seen() -> TrafficObservation {
        let lost = Target { error: Some("timeout".to_owned()), answer: Group::default() };
        let targets = vec![answer(200, "a", Some("spiffe://x")), answer(503, "b", None), lost, answer(200, "c", None)];
        let row = |at: u64, target: u32| Row(at * 1_000, 0, Some(1), 2_500, target, Some(0));
        let rows = vec![row(0, 0), row(10, 1), row(20, 2), row(30, 1), row(40, 3), row(50, 0)];
        let by_status = [("200".to_owned(), 3), ("503".to_owned(), 2)].into();
        let groups = targets.iter().filter(|one| one.error.is_none()).map(|one| one.answer.clone()).collect();
        let timeline = Some(Timeline { targets, rows, dropped: 0 });
        let samples = Samples {
            requests: 6,
            answered: 5,
            by_status,
            groups,
            timeline: timeline.map(Into::into),
            ..Samples::default()
        };
        TrafficObservation::of(vec![OfSource { source: Workload::client("cluster1"), samples }])
    }

    fn found(check: Check) -> Option<FailingSamples> {
        let location = Location { file: String::new(), line: 1, column: 1 };
        let expectation = Expectation { name: "x".to_owned(), location, from: None, check };
        let observation = Observation::Traffic(Box::new(seen()));
        let mut judgement = judge_of(&expectation, &observation);
        add(&expectation, &observation, &mut judgement);
        figures::read(&judgement.figures, "samples")
    }

    #[test]
    fn the_first_of_each_kind_is_shown_with_the_number_of_its_like() {
        let found = found(Check::Answered(RatePlan { limit: 0.0, alpha: 0.01 })).expect("some failed");
        assert_eq!(found.count, 3);
        let shown: Vec<_> =
            found.first.iter().map(|one| (one.at_ms, one.status, one.error.as_deref(), one.count)).collect();
        assert_eq!(shown, [(10.0, Some(503), None, 2), (20.0, None, Some("timeout"), 1)]);
        assert_eq!((found.first[0].from.as_str(), found.first[0].took_ms), ("sleep of cluster1", 2.5));
    }

    #[test]
    fn good_answers_with_another_peer_are_what_an_identity_is_not_met_by() {
        let client = Some(Peer::Id("spiffe://x".to_owned()));
        let found = found(Check::Identity(Identity { client, server: None })).expect("one is somebody else");
        let pods: Vec<_> = found.first.iter().map(|one| one.pod.as_deref()).collect();
        assert_eq!(pods, [Some("c")]);
    }

    #[test]
    fn an_expectation_that_is_met_shows_none() {
        assert_eq!(found(Check::Answered(RatePlan { limit: 0.99, alpha: 0.01 })), None);
    }
}
