//! The page of whole runs, as text: what it says, what it must never hold, and how large it may get.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use verdict::{ErrorRates, Outcome, SplitPlan, Target};

use super::*;
use crate::report::event::{CheckReport, Event, EventKind, StepOutcome};
use crate::report::figures::{
    Budget, Failover, Interval, Latency, LatencyBucket, Moment, Quantile, TimelineBin, Totals, Unit,
};

fn record(kinds: Vec<EventKind>) -> Record {
    let mut record = Record::default();
    for (index, kind) in kinds.into_iter().enumerate() {
        record.add(&Event { elapsed: Duration::from_millis(10 * index as u64), kind });
    }
    record
}

fn run(name: &str, text: &str, figures: serde_json::Value, outcome: RunOutcome) -> Vec<EventKind> {
    let (scenario, step) = (name.to_owned(), "1".to_owned());
    let failed = outcome == RunOutcome::MeshFailed;
    let ended = if failed { StepOutcome::Failed } else { StepOutcome::Passed };
    vec![
        EventKind::RunStarted {
            run_id: "1a2b3c4d".into(),
            command: "e2e".into(),
            environment: text.into(),
            started: text.into(),
        },
        EventKind::PlanReady { text: String::new(), scenarios: vec![scenario.clone()], requests: 1 },
        EventKind::PhaseStarted { phase: "clusters".into(), title: text.into() },
        EventKind::PhaseFinished {
            phase: "clusters".into(),
            outcome: crate::report::PhaseOutcome::Done,
            detail: text.into(),
        },
        EventKind::ScenarioStarted {
            scenario: scenario.clone(),
            description: text.into(),
            file: "a.yaml".into(),
            environment: None,
            repetition: None,
        },
        EventKind::StepStarted { scenario: scenario.clone(), step: step.clone(), name: text.into() },
        EventKind::CheckFinished {
            scenario: scenario.clone(),
            step: step.clone(),
            check: CheckReport {
                name: "split".into(),
                outcome: if failed { Outcome::Fail } else { Outcome::Pass },
                evidence: vec![text.into()],
                location: None,
                figures,
            },
        },
        EventKind::StepFinished {
            scenario: scenario.clone(),
            step,
            outcome: ended.clone(),
            evidence: vec![text.into()],
        },
        EventKind::ScenarioFinished { scenario, outcome: ended },
        EventKind::Warning { message: text.into(), cure: None },
        EventKind::FileWritten { what: text.into(), path: text.into() },
        EventKind::RunFinished { outcome },
    ]
}

fn split() -> serde_json::Value {
    let target = |category: &str, weight| Target { category: category.into(), weight };
    let plan =
        SplitPlan::new(vec![target("v3@cluster2", 75.0), target("v1@cluster1", 25.0)], 5.0, ErrorRates::default());
    let counts = [("v3@cluster2".to_owned(), 2000), ("v1@cluster1".to_owned(), 2000)].into();
    json!({ "split": plan.expect("a plan").judge(&counts) })
}

fn failover() -> Failover {
    let bins = (0..100).map(|index| {
        let dark = (40..48).contains(&index);
        TimelineBin {
            answered: if dark {
                vec![0, 0]
            } else if index < 40 {
                vec![10, 0]
            } else {
                vec![0, 10]
            },
            lost: if dark { 10 } else { 0 },
            wrong: u64::from(index == 60),
            slow: 0,
            slowest_ms: (!dark).then_some(2.0 + f64::from(index % 7)),
        }
    });
    Failover {
        rate: 500.0,
        duration_ms: 2000.0,
        resolution_ms: 2.0,
        fault: Moment { at_ms: 800.0, what: "reviews-v1 of cluster1 scaled to zero".into() },
        healed: Some(Moment { at_ms: 1500.0, what: "scaled back".into() }),
        gap: Some(Interval { from_ms: 802.0, to_ms: 961.0 }),
        moments: vec![Moment { at_ms: 961.0, what: "first answer of cluster2".into() }],
        totals: Totals { requests: 1000, good: 919, slow: 0, wrong: 1, lost: 80 },
        budgets: vec![Budget {
            name: "longest gap".into(),
            measured: Some(159.0),
            limit: 100.0,
            unit: Unit::Ms,
            outcome: Outcome::Fail,
        }],
        targets: vec!["reviews-v1 of cluster1".into(), "reviews-v3 of cluster2".into()],
        bin_ms: 20.0,
        bins: bins.collect(),
    }
}

fn latency() -> Latency {
    Latency {
        count: 1000,
        buckets: (1..40)
            .map(|step| LatencyBucket {
                up_to_ms: 0.5 * 1.15_f64.powi(step),
                count: u64::from(40 - step.unsigned_abs()),
            })
            .collect(),
        quantiles: vec![Quantile { quantile: 0.99, ms: 21.5, low_ms: 19.0, high_ms: 24.0, limit_ms: Some(20.0) }],
    }
}

#[test]
fn a_page_says_what_matters_in_this_order() {
    let page = page(&record(run("shift", "seen", split(), RunOutcome::MeshFailed)));
    let mut rest = page.as_str();
    for part in [
        "The mesh failed",
        "exit code 100",
        "What did not pass",
        "Likely layer",
        "cargo xtask e2e a.yaml",
        "Timeline",
        "Steps",
        "exact interval",
        "Set-up and tear-down",
        "Warnings",
        "Files",
    ] {
        let found = rest.find(part);
        assert!(found.is_some(), "{part} is missing or too early:\n{page}");
        rest = &rest[found.unwrap_or_default()..];
    }
}

#[test]
fn what_failed_or_has_a_chart_is_open_and_the_rest_closed() {
    let is_open = |figures: serde_json::Value, outcome| {
        page(&record(run("shift", "seen", figures, outcome))).contains("id=\"step-0-0\" open")
    };
    assert!(is_open(json!(null), RunOutcome::MeshFailed));
    assert!(is_open(split(), RunOutcome::Passed));
    assert!(!is_open(json!({ "statuses": {} }), RunOutcome::Passed));
}

#[test]
fn a_run_that_was_killed_has_no_verdict() {
    let mut kinds = run("shift", "seen", split(), RunOutcome::Passed);
    kinds.pop();
    let page = page(&record(kinds));
    assert!(page.contains("Not finished") && page.contains("there is no verdict"));
}

#[test]
fn figures_of_failover_and_latency_are_drawn() {
    let figures = json!({ "failover": failover(), "latency": latency() });
    let page = page(&record(run("failover", "seen", figures, RunOutcome::MeshFailed)));
    for part in [
        "gap 159 ms",
        "longest gap",
        "reviews-v1 of cluster1 scaled to zero",
        "class=\"lost\"",
        "class=\"wrong\"",
        "Histogram of the time to answer",
        "p99",
        "chip bad",
        "Slowest answer, at most 8 ms",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
}

#[test]
fn an_empty_run_has_a_page() {
    assert!(page(&Record::default()).contains("Not finished"));
}

/// Numbers that no drawing survives unless it is careful.
#[test]
fn absurd_figures_are_drawn_without_absurd_numbers() {
    let mut failover = failover();
    (failover.duration_ms, failover.bin_ms) = (0.0, f64::MAX);
    failover.targets.clear();
    let latency = Latency {
        count: 0,
        buckets: vec![LatencyBucket { up_to_ms: 0.0, count: 0 }],
        quantiles: vec![Quantile { quantile: 0.5, ms: -1.0, low_ms: 0.0, high_ms: 0.0, limit_ms: Some(0.0) }],
    };
    let page = page(&record(run("x", "seen", json!({ "failover": failover, "latency": latency }), RunOutcome::Passed)));
    assert!(!page.contains("NaN") && !page.contains("\"inf") && !page.contains("\"-inf"));
}

#[test]
fn a_huge_run_gets_a_page_that_can_be_opened() {
    let mut kinds = run("first", "seen", split(), RunOutcome::MeshFailed);
    let end = kinds.pop().expect("an end");
    let text = "\"<&>'".repeat(2_000);
    for scenario in 0..300 {
        for kind in run(&format!("scenario {scenario} {text}"), &text, split(), RunOutcome::MeshFailed) {
            if !matches!(kind, EventKind::RunStarted { .. } | EventKind::RunFinished { .. }) {
                kinds.push(kind);
            }
        }
    }
    kinds.push(end);
    let page = page(&record(kinds));
    assert!(page.len() <= LARGEST, "{}", page.len());
    assert!(page.contains("left out to keep this page small") && page.contains("The mesh failed"));
}

#[test]
fn a_page_asks_nobody_for_anything() {
    let page = page(&record(run(
        "shift",
        "https://example.com/<img src=https://example.com/x>",
        split(),
        RunOutcome::MeshFailed,
    )));
    for attribute in ["src=\"", "href=\"http", "url(", "@import", "<link rel=\"stylesheet", "<img", "<iframe"] {
        assert!(!page.contains(attribute), "{attribute}");
    }
    assert!(page.contains("default-src 'none'"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_run_brings_is_text(payload in prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"><script>alert(1)</script>".to_owned()),
        Just("'\" onload=alert(1) x='".to_owned()),
        Just("</style><script>alert(1)</script>".to_owned()),
        Just("]]><svg onload=alert(1)>".to_owned()),
        "[<>\"'&/a-z ]{1,30}",
    ]) {
        let harmless = page(&record(run("n", "plain", split(), RunOutcome::MeshFailed)));
        let hostile = page(&record(run(&payload, &payload, json!({ "x": payload }), RunOutcome::MeshFailed)));
        // Neither a tag nor an attribute more than those of the page itself.
        for tag in ["<script", "<svg onload", "</style>"] {
            prop_assert_eq!(hostile.matches(tag).count().min(2), harmless.matches(tag).count().min(2), "{}", tag);
        }
        if payload.contains('<') {
            let (between, quoted) = (format!(">{payload}<"), format!("\"{payload}\""));
            prop_assert!(!hostile.contains(&between));
            prop_assert!(!hostile.contains(&quoted));
        }
    }
}
