//! A timeline that keeps every promise, and one that breaks each of them.

use std::sync::Arc;
use std::time::Duration;

use verdict::Outcome::{Fail, Inconclusive, Pass};

use super::*;
use crate::traffic::probe::{Group, Samples};
use crate::traffic::timeline::{Row, Target, Timeline};

/// One request every 10 ms; a letter for what came of it: `1`, `2`, `3` answered by that cluster, `s` late by cluster2,
/// `x` not answered.
fn seen(text: &str, began_ms: f64, healed_ms: Option<f64>) -> TrafficObservation {
    let answer = |cluster: &str| Target {
        error: None,
        answer: Group { status: 200, cluster: Some(cluster.to_owned()), ..Group::default() },
    };
    let lost = Target { error: Some("timeout".to_owned()), answer: Group::default() };
    let row = |(index, letter): (usize, char)| {
        let (done, target) = match letter {
            '1' => (1_000, 0),
            '2' => (1_000, 1),
            's' => (900_000, 1),
            '3' => (1_000, 2),
            _ => (250_000, 3),
        };
        Row(index as u64 * 10_000, 0, Some(1), done, target, Some(0))
    };
    let timeline = Timeline {
        targets: vec![answer("cluster1"), answer("cluster2"), answer("cluster3"), lost],
        rows: text.chars().enumerate().map(row).collect(),
        dropped: 0,
    };
    let what = "details without pods".to_owned();
    TrafficObservation {
        samples: Samples { requests: text.len() as u64, timeline: Some(timeline.into()), ..Samples::default() },
        rate: 100,
        faults: vec![FaultSeen { step: "outage".to_owned(), what, began_ms, healed_ms }],
        ..TrafficObservation::default()
    }
}

fn promises() -> Failover {
    let ms = |value: u64| Some(Duration::from_millis(value));
    Failover {
        fault: "outage".to_owned(),
        from: vec!["cluster1".to_owned()],
        to: vec!["cluster2".to_owned()],
        slow_after: Duration::from_millis(500),
        detect: ms(40),
        gap: ms(30),
        recover: ms(60),
        fail_back: ms(20),
        lost: Some(3),
        slow: Some(0),
        wrong: Some(0),
    }
}

fn broken(text: &str) -> Vec<String> {
    let judgement = failover(&promises(), &seen(text, 30.0, Some(100.0)));
    let figures: Figures = crate::report::figures::read(&judgement.figures, "failover").expect("figures");
    assert_eq!(
        figures.bins.iter().map(|bin| bin.answered.iter().sum::<u64>() + bin.lost).sum::<u64>(),
        text.len() as u64
    );
    let broken: Vec<String> =
        figures.budgets.into_iter().filter(|budget| budget.outcome == Fail).map(|budget| budget.name).collect();
    assert_eq!(judgement.outcome, if broken.is_empty() { Pass } else { Fail });
    broken
}

#[test]
fn every_promise_is_kept_or_named() {
    assert!(broken("111xxx222221111").is_empty());
    assert_eq!(broken("111xxxxx2221111"), ["time to detect", "longest gap", "requests lost"]);
    assert_eq!(broken("111xx2222222222"), ["time to fail back"]);
    assert_eq!(broken("111xs2222211111"), ["slow answers"]);
    assert_eq!(broken("111x32222211111"), ["wrong targets"]);
    assert_eq!(broken("111x2x2x2x11111"), ["time to recover", "requests lost"]);
}

#[test]
fn a_fault_that_was_not_seen_proves_nothing() {
    let mut seen = seen("1112222111", 30.0, None);
    let outcome = |seen: &TrafficObservation| failover(&promises(), seen).outcome;
    // Never healed, so never failed back.
    assert_eq!(outcome(&seen), Fail);
    seen.faults.clear();
    assert_eq!(outcome(&seen), Inconclusive);
}

#[test]
fn every_bin_of_the_timeline_holds_as_many_requests() {
    // The probe tells whole microseconds: at 600 a second some times are rounded to just before their bin.
    for (rate, requests, each) in [(600, 300, 1), (600, 1_800, 5)] {
        let mut seen = seen(&"1".repeat(requests), 20.0, None);
        seen.rate = rate;
        let timeline = Arc::make_mut(seen.samples.timeline.as_mut().expect("a timeline"));
        for (index, row) in timeline.rows.iter_mut().enumerate() {
            row.0 = index as u64 * 1_000_000 / u64::from(rate);
        }
        let judgement = failover(&promises(), &seen);
        let bins = judgement.figures["failover"]["bins"].as_array().expect("bins").clone();
        assert_eq!(bins.len(), requests / each);
        assert!(bins.iter().all(|bin| bin["answered"][0] == each), "{bins:?}");
    }
}
