//! Merges of made-up runs.

use std::time::Duration;

use super::*;
use crate::report::event::{Event, EventKind, StepOutcome};
use crate::report::record::Artifact;
use crate::report::{html, junit, layer, summary};
use crate::shard::ShardFacts;

const SELECTION: [&str; 4] = ["a", "b", "c", "d"];

/// A run of a shard that began so many seconds after twelve and ran these scenarios, 10 s each, that ended alike.
fn run(shard: &str, run_id: &str, second: u64, scenarios: &[&str], end: &StepOutcome) -> Source {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let mut kinds = vec![
        EventKind::RunStarted {
            run_id: run_id.to_owned(),
            command: "e2e".to_owned(),
            environment: format!("e2e-{run_id}"),
            started: format!("2026-11-22T12:00:{second:02}Z"),
        },
        EventKind::VersionsKnown { versions: [("meshproof".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into() },
        EventKind::ShardKnown {
            facts: ShardFacts { shard: shard.parse().expect("a shard"), selection: owned(&SELECTION) },
        },
        EventKind::PlanReady { text: String::new(), scenarios: owned(scenarios), requests: 0 },
        EventKind::PhaseStarted { phase: "clusters".to_owned(), title: "start".to_owned() },
    ];
    for name in scenarios {
        let scenario = (*name).to_owned();
        kinds.push(EventKind::ScenarioStarted {
            scenario: scenario.clone(),
            description: String::new(),
            file: format!("{name}.yaml"),
            environment: None,
            repetition: None,
        });
        kinds.push(EventKind::StepStarted { scenario: scenario.clone(), step: "1".to_owned(), name: "ask".to_owned() });
        let (step, outcome) = ("1".to_owned(), end.clone());
        kinds.push(EventKind::StepFinished { scenario: scenario.clone(), step, outcome, evidence: Vec::new() });
        kinds.push(EventKind::ScenarioFinished { scenario, outcome: end.clone() });
    }
    let outcome = if *end == StepOutcome::Passed { RunOutcome::Passed } else { RunOutcome::MeshFailed };
    kinds.push(EventKind::RunFinished { outcome });
    let mut record = Record::default();
    for (at, kind) in kinds.into_iter().enumerate() {
        record.add(&Event { elapsed: Duration::from_secs(at as u64), kind });
    }
    Source { folder: format!("shards/{run_id}"), record, unreadable: 0 }
}

fn good() -> Vec<Source> {
    vec![
        run("2/2", "cc", 5, &["d"], &StepOutcome::Passed),
        run("1/2", "bb", 9, &["c"], &StepOutcome::Passed),
        run("1/2", "aa", 0, &["a", "b"], &StepOutcome::Passed),
    ]
}

fn refused(sources: Vec<Source>) -> Vec<String> {
    let refusals = merge(sources).expect_err("it is refused");
    assert!(refusals.iter().all(|refusal| !refusal.cure().is_empty()));
    refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn shards_become_one_report_with_the_worst_outcome() {
    let merged = merge(good()).expect("merged");
    assert_eq!((merged.outcome, merged.exit_code), (Some(RunOutcome::Passed), Some(0)));
    assert_eq!(merged.selected, SELECTION);
    let names: Vec<&str> = merged.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, SELECTION, "in the order of shards, and of time in each");
    assert_eq!(merged.started, "2026-11-22T12:00:00Z");
    assert_eq!(merged.scenarios[2].started_ms, 14_000, "9 s later, and 5 s from its beginning");
    assert_eq!(merged.duration_ms, 18_000, "the last to end began at 9 s and took 9 s");
    assert_eq!(merged.phases[2].id, "e2e-cc/clusters");
    assert_eq!(merged.scenarios[3].environment.as_deref(), Some("e2e-cc"));
    assert_eq!(merged.environment, "2 shards in 3 runs");
    let shards: Vec<String> = merged.parts.iter().map(|part| format!("{} {}", part.shard, part.run_id)).collect();
    assert_eq!(shards, ["1/2 aa", "1/2 bb", "2/2 cc"]);

    let mut bad = good();
    bad[0] = run("2/2", "cc", 5, &["d"], &StepOutcome::Failed);
    bad[0].record.failures.push(crate::report::record::FailureRecord {
        message: "it broke".to_owned(),
        cure: None,
        evidence: Vec::new(),
    });
    let merged = merge(bad).expect("merged");
    assert_eq!((merged.outcome, merged.exit_code), (Some(RunOutcome::MeshFailed), Some(100)));
    assert_eq!(merged.failures[0].message, "shard 2/2, e2e-cc: it broke");
    assert_eq!(layer::failures(&merged)[1].reproduce.as_deref(), Some("cargo xtask e2e d.yaml"));
}

#[test]
fn every_form_of_the_merged_report_shows_its_parts() {
    let merged = merge(good()).expect("merged");
    let page = html::page(&merged);
    assert!(page.contains("<h2 id=\"parts\">") && page.contains("e2e-bb"), "{page}");
    insta::assert_snapshot!("the_summary_of_merged_shards", summary::markdown(&merged));
    let xml = String::from_utf8(junit::format(&merged).expect("XML")).expect("UTF-8");
    assert!(SELECTION.iter().all(|name| xml.contains(&format!("<testsuite name=\"{name}\""))), "{xml}");
    let json = serde_json::to_string(&merged).expect("JSON");
    assert_eq!(serde_json::from_str::<Record>(&json).expect("read"), merged);
}

#[test]
fn what_was_saved_is_found_where_the_folder_is_now() {
    let mut sources = good();
    let files = vec![Artifact { what: "logs".to_owned(), path: "a.log".to_owned(), bytes: 1 }];
    let folder = "/elsewhere/reports/artifacts/a".to_owned();
    sources[2].record.scenarios[0].artifacts =
        Some(crate::report::record::Artifacts { folder, files, missing: Vec::new() });
    let merged = merge(sources).expect("merged");
    assert_eq!(merged.scenarios[0].artifacts.as_ref().expect("saved").folder, "shards/aa/artifacts/a");
}

#[test]
fn different_versions_of_others_are_all_said() {
    let mut sources = good();
    for (source, version) in sources.iter_mut().zip(["1.40.1", "1.40.0", "1.40.1"]) {
        source.record.versions.insert("Envoy".to_owned(), version.to_owned());
    }
    assert_eq!(merge(sources).expect("merged").versions["Envoy"], "1.40.1, 1.40.0");
}

#[test]
fn a_shard_that_is_missing_or_there_twice_is_named() {
    assert_eq!(refused(Vec::new()), ["there is no run to merge"]);
    assert_eq!(refused(good().split_off(1)), ["shard 2/2 is missing"]);
    let mut twice = good();
    twice.push(run("2/2", "dd", 5, &["d"], &StepOutcome::Passed));
    assert_eq!(refused(twice), ["shard 2/2 is there twice: d is in shards/cc and in shards/dd"]);
    let mut incomplete = good();
    incomplete.remove(1);
    assert_eq!(refused(incomplete), ["no run has c"], "one of the two runs of a shard is not enough");
}

#[test]
fn what_is_damaged_or_of_another_version_is_named() {
    let with = |change: fn(&mut Source)| {
        let mut sources = good();
        change(&mut sources[0]);
        refused(sources)
    };
    assert_eq!(with(|one| one.unreadable = 3), ["shards/cc is damaged: lines of its events that cannot be read: 3"]);
    assert_eq!(with(|one| one.record.started.clear()), ["shards/cc is damaged: it does not say when it began"]);
    assert_eq!(with(|one| one.record.outcome = None), ["shards/cc: its run has no end, so it has no verdict"]);
    assert_eq!(with(|one| one.record.shard = None), ["shards/cc: its run was no shard"]);
    assert_eq!(
        with(|one| one.record.scenarios.clear()),
        ["shards/cc is damaged: it says that everything passed, and not how d ended"]
    );
    assert_eq!(
        with(|one| one.record.selected.clear()),
        ["shards/cc is damaged: it does not say which scenarios were to be run"]
    );
    assert_eq!(
        with(|one| one.record.selected = vec!["other".to_owned()]),
        ["shards/cc is damaged: other is not in the selection that it is a shard of"]
    );
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(
        with(|one| _ = one.record.versions.insert("meshproof".to_owned(), "9.9.9".to_owned())),
        [format!("shards/cc was recorded by meshproof 9.9.9, and this is {own}")]
    );
    assert_eq!(
        with(|one| one.record.versions.clear()),
        [format!("shards/cc was recorded by meshproof of an older version, and this is {own}")]
    );
    assert_eq!(
        with(|one| one.record.shard.as_mut().expect("a shard").selection.push("e".to_owned())),
        [
            "shards/cc and shards/bb are not shards of the same selection",
            "shards/cc and shards/aa are not shards of the same selection"
        ]
    );
}
