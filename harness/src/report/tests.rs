//! The reports of whole runs, from recorded events, in memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use verdict::Outcome;

use super::console::{Console, Options};
use super::*;
use crate::diagnostic::Location;

/// A writer whose content can be looked at afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn started(command: &str) -> EventKind {
    EventKind::RunStarted {
        run_id: "1a2b3c4d".into(),
        command: command.into(),
        environment: "e2e-1a2b3c4d".into(),
        started: "2026-08-21T10:00:00Z".into(),
    }
}

fn phase_started(phase: &str, title: &str) -> EventKind {
    EventKind::PhaseStarted { phase: phase.into(), title: title.into() }
}

fn phase_finished(phase: &str, outcome: PhaseOutcome, detail: &str) -> EventKind {
    EventKind::PhaseFinished { phase: phase.into(), outcome, detail: detail.into() }
}

fn step_started(step: &str, name: &str) -> EventKind {
    EventKind::StepStarted { scenario: "shift".into(), step: step.into(), name: name.into() }
}

fn step_finished(step: &str, outcome: StepOutcome, evidence: &[&str]) -> EventKind {
    let evidence = evidence.iter().map(|sentence| (*sentence).to_owned()).collect();
    EventKind::StepFinished { scenario: "shift".into(), step: step.into(), outcome, evidence }
}

fn check(step: &str, name: &str, outcome: Outcome, evidence: &[&str]) -> EventKind {
    EventKind::CheckFinished {
        scenario: "shift".into(),
        step: step.into(),
        check: CheckReport {
            name: name.into(),
            outcome,
            evidence: evidence.iter().map(|sentence| (*sentence).to_owned()).collect(),
            location: Some(Location { file: "shift.yaml".into(), line: 12, column: 5 }),
            figures: serde_json::json!({ "n": 3992 }),
        },
    }
}

fn two_clusters() -> figures::TopologyFacts {
    let cluster = |number: u8| figures::ClusterFacts {
        name: format!("cluster{number}"),
        network: format!("network{number}"),
        locality: format!("region{number}/zone{number}"),
    };
    let workload = |cluster: &str, name: &str, sidecar: bool| figures::WorkloadFacts {
        cluster: cluster.into(),
        namespace: if sidecar { "bookinfo" } else { "outside" }.into(),
        name: name.into(),
        sidecar,
    };
    figures::TopologyFacts {
        name: "two-clusters".into(),
        description: "Two.".into(),
        trust_domain: "cluster.local".into(),
        clusters: vec![cluster(1), cluster(2)],
        gateways: vec!["istio-ingressgateway".into(), "istio-eastwestgateway".into()],
        workloads: vec![
            workload("cluster1", "probe", true),
            workload("cluster1", "reviews-v1", true),
            workload("cluster2", "reviews-v3", true),
            workload("cluster2", "probe", false),
        ],
        vms: Vec::new(),
    }
}

fn measured() -> figures::Traffic {
    let answer = |cluster: &str, version: &str, count| figures::Answer {
        cluster: Some(cluster.into()),
        pod: Some(format!("reviews-{version}-abc12")),
        version: Some(version.into()),
        client_identity: Some("spiffe://cluster.local/ns/bookinfo/sa/probe".into()),
        server_identity: Some("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews".into()),
        count,
    };
    figures::Traffic {
        samples: None,
        failures: Vec::new(),
        from_cluster: "cluster1".into(),
        from_namespace: "bookinfo".into(),
        from_workload: "probe".into(),
        workers: vec!["workers-1a2b-0-x".into(), "workers-1a2b-0-y".into()],
        url: "http://reviews:9080/reviews/0".into(),
        requests: 3992,
        failed: 0,
        duration_ms: 2000.0,
        latency_ms: [("p50".to_owned(), 1.5), ("p99".to_owned(), 9.25)].into(),
        answers: vec![answer("cluster2", "v3", 2800), answer("cluster1", "v1", 1192)],
    }
}

/// A run with a step of each outcome, a control, and a part of a control that could not be carried out.
fn eventful() -> Vec<Event> {
    let kinds = vec![
        started("e2e"),
        EventKind::PlanReady { text: "the plan\n  1 step".into(), scenarios: vec!["shift".into()], requests: 3992 },
        EventKind::TopologyKnown { topology: two_clusters() },
        phase_started("clusters", "start 2 clusters"),
        EventKind::PhaseProgress { phase: "clusters".into(), message: "cluster1 ready".into() },
        phase_finished("clusters", PhaseOutcome::Done, "cluster1, cluster2"),
        phase_started("install/cluster1", "install on cluster1"),
        phase_finished("install/cluster1", PhaseOutcome::Done, "8 pods"),
        EventKind::ScenarioStarted {
            scenario: "shift".into(),
            description: "A shift.".into(),
            file: "shift.yaml".into(),
            environment: None,
            repetition: None,
        },
        step_started("1", "stage 1"),
        step_started("1.1", "nothing reaches v3"),
        EventKind::StepProgress {
            scenario: "shift".into(),
            step: "1.1".into(),
            done: 10,
            total: 100,
            message: "requests".into(),
        },
        check("1.1", "answered", Outcome::Pass, &["0 of 100 requests without an answer", "and more"]),
        step_finished("1.1", StepOutcome::Passed, &["100 requests in 0.1 s"]),
        step_started("1.2", "control: with PERMISSIVE"),
        step_started("1.2.c1", "apply PeerAuthentication"),
        step_finished("1.2.c1", StepOutcome::Passed, &["applied"]),
        check("1.2", "connection must be refuted", Outcome::Pass, &["answered; expected reset"]),
        step_finished("1.2", StepOutcome::Passed, &["one connection"]),
        step_finished("1", StepOutcome::Passed, &[]),
        step_started("2", "75/15/10"),
        EventKind::TrafficMeasured { scenario: "shift".into(), step: "2".into(), traffic: measured() },
        check("2", "split", Outcome::Fail, &["v3: 2,800 of 3,992 = 70.14 % does not lie within 75 % ± 5", "v1: fine"]),
        check("2", "mtls", Outcome::Inconclusive, &["not observable: no request was answered"]),
        step_finished("2", StepOutcome::Failed, &["3,992 requests in 2.0 s"]),
        step_started("3", "a control that breaks"),
        step_started("3.c1", "apply VirtualService"),
        step_finished("3.c1", StepOutcome::Errored { message: "cluster1: refused\u{1b}[2J".into() }, &[]),
        step_finished("3", StepOutcome::Errored { message: "a step inside failed".into() }, &[]),
        step_started("4", "undecided"),
        check("4", "split", Outcome::Inconclusive, &["10 samples do not decide"]),
        step_finished("4", StepOutcome::Inconclusive, &[]),
        step_started("5", "tapped"),
        step_finished("5", StepOutcome::Skipped { reason: "no capture on this provider".into() }, &[]),
        EventKind::ArtifactsTaken {
            scenario: "shift".into(),
            folder: "out/artifacts/shift".into(),
            artifacts: vec![record::Artifact { what: "logs".into(), path: "cluster1/reviews.log".into(), bytes: 2048 }],
            missing: vec!["cluster2: no answer".into()],
        },
        EventKind::ScenarioFinished { scenario: "shift".into(), outcome: StepOutcome::Failed },
        EventKind::Warning { message: "slow disk".into(), cure: Some("a faster one".into()) },
        phase_started("tear-down", "tear down"),
        phase_finished("tear-down", PhaseOutcome::Done, ""),
        EventKind::FileWritten { what: "logs".into(), path: "out/logs".into() },
        EventKind::RunFinished { outcome: RunOutcome::MeshFailed },
    ];
    timed(kinds)
}

/// A run whose set-up fails.
fn broken() -> Vec<Event> {
    timed(vec![
        started("e2e"),
        EventKind::PlanReady { text: "the plan".into(), scenarios: vec!["shift".into()], requests: 1 },
        phase_started("clusters", "start 2 clusters"),
        phase_started("install/cluster1", "install on cluster1"),
        phase_finished("clusters", PhaseOutcome::Failed, "Envoy did not start"),
        EventKind::Failure {
            message: "Envoy did not start: exit status 127".into(),
            cure: Some("set MESHPROOF_ENVOY".into()),
            evidence: vec!["line one\nline two".into()],
        },
        EventKind::RunFinished { outcome: RunOutcome::EnvironmentFailed },
    ])
}

fn timed(kinds: Vec<EventKind>) -> Vec<Event> {
    let at = |index: usize| Duration::from_millis(100 * u64::try_from(index).expect("small"));
    kinds.into_iter().enumerate().map(|(index, kind)| Event { elapsed: at(index), kind }).collect()
}

fn on_console(events: &[Event], colour: bool) -> String {
    let shared = Shared::default();
    let reports = vec![("JUnit report".to_owned(), "out/junit.xml".to_owned())];
    let options = Options { live: false, colour, reports };
    let mut console = Console::to_writer(Box::new(shared.clone()), options);
    for event in events {
        console.on_event(event).expect("memory takes everything");
    }
    let bytes = shared.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

fn record(events: &[Event]) -> Record {
    let mut record = Record::default();
    events.iter().for_each(|event| record.add(event));
    record
}

fn text(bytes: io::Result<Vec<u8>>) -> String {
    String::from_utf8(bytes.expect("written")).expect("UTF-8")
}

#[test]
fn the_console_shows_what_is_final_with_its_evidence() {
    let shown = on_console(&eventful(), false);
    assert!(!shown.contains('\u{1b}'), "neither colours nor foreign control characters");
    insta::assert_snapshot!(shown);
}

#[test]
fn the_console_says_why_set_up_failed() {
    insta::assert_snapshot!(on_console(&broken(), false));
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = on_console(&eventful(), true);
    assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m"));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&plain), words(&on_console(&eventful(), false)));
}

#[test]
fn junit_has_a_case_for_each_step_and_none_for_groups() {
    let xml = text(junit::format(&record(&eventful())));
    assert!(!xml.contains("\"1 stage 1\""), "a group is no case");
    insta::assert_snapshot!(xml);
}

#[test]
fn junit_is_there_and_red_when_set_up_failed() {
    let xml = text(junit::format(&record(&broken())));
    assert!(
        xml.contains("errors=\"3\""),
        "the failed phase, the one that did not finish, and the failure itself: {xml}"
    );
    insta::assert_snapshot!(xml);
}

#[test]
fn the_json_report_is_the_record_and_comes_back_as_it_was() {
    let record = record(&eventful());
    let json = text(json::format(&record));
    assert_eq!(serde_json::from_str::<Record>(&json).expect("JSON"), record);
    insta::assert_snapshot!(json);
}

#[test]
fn the_report_fits_its_published_schema() {
    let schema = crate::diagnostic::structure::schema_of::<Record>();
    let document = crate::diagnostic::Document::parse("report.json", &text(json::format(&record(&eventful()))))
        .expect("JSON is YAML");
    let deviations = crate::diagnostic::structure::check(&document, &schema);
    assert!(deviations.problems.is_empty(), "{}", deviations.problems);
}

#[test]
fn events_can_be_recorded_as_lines_of_json() {
    for event in eventful() {
        let line = serde_json::to_string(&event).expect("JSON");
        assert_eq!(serde_json::from_str::<Event>(&line).expect("an event"), event, "{line}");
    }
}

#[test]
fn steps_are_counted_once() {
    let counts = record(&eventful()).counts();
    assert_eq!((counts.passed, counts.failed, counts.inconclusive, counts.skipped, counts.errored), (2, 1, 1, 1, 1));
}

#[test]
fn every_event_fits_its_published_schema() {
    let schema = crate::diagnostic::structure::schema_of::<Event>();
    for event in eventful().into_iter().chain(broken()) {
        let line = serde_json::to_string(&event).expect("JSON");
        let document = crate::diagnostic::Document::parse("events.jsonl", &line).expect("JSON is YAML");
        let deviations = crate::diagnostic::structure::check(&document, &schema);
        assert!(deviations.problems.is_empty(), "{line}: {}", deviations.problems);
    }
}

#[test]
fn the_summary_of_a_job_is_markdown_whatever_names_contain() {
    let page = summary::markdown(&record(&eventful()));
    insta::assert_snapshot!(page);
    let hostile = summary::markdown(&Record { environment: "`x`".into(), command: "<b>|".into(), ..Record::default() });
    assert!(hostile.contains("&lt;b&gt;\\|") && hostile.contains("` x `"), "{hostile}");
    insta::assert_snapshot!("the_summary_of_a_broken_set_up", summary::markdown(&record(&broken())));
}

#[test]
fn the_summary_of_a_job_fits_what_github_takes() {
    let mut events = eventful();
    let long = "x".repeat(100_000);
    for number in 0..2_000 {
        let scenario = format!("{number}{long}");
        for kind in [
            EventKind::ScenarioStarted {
                scenario: scenario.clone(),
                description: long.clone(),
                file: long.clone(),
                environment: None,
                repetition: None,
            },
            EventKind::ScenarioFinished { scenario, outcome: StepOutcome::Errored { message: long.clone() } },
        ] {
            events.push(Event { elapsed: Duration::ZERO, kind });
        }
    }
    assert!(summary::markdown(&record(&events)).len() < 256 * 1024);
}

#[tokio::test]
async fn files_are_written_whole_and_a_missing_folder_makes_them_red() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
    let good = json::FileReport::new(path.join("report.json"), json::format);
    let bad = json::FileReport::new(path.join("missing/junit.xml"), junit::format);
    let (events, stream) = EventStream::start(vec![Box::new(good), Box::new(bad)], Vec::new());
    let passed = eventful().into_iter().map(|event| event.kind).map(|kind| match kind {
        EventKind::RunFinished { .. } => EventKind::RunFinished { outcome: RunOutcome::Passed },
        kind => kind,
    });
    passed.for_each(|kind| events.send(kind));
    assert_eq!(stream.finish().await.outcome, Some(RunOutcome::EnvironmentFailed));
    let written = std::fs::read_to_string(path.join("report.json")).expect("written");
    let record: Record = serde_json::from_str(&written).expect("JSON");
    assert_eq!(record.exit_code, Some(105), "the report that could be written agrees");
    assert!(record.failures.iter().any(|failure| failure.message.contains("missing/junit.xml")), "{written}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
}

#[test]
fn what_hides_a_verdict_outranks_it() {
    use RunOutcome::{EnvironmentFailed, Inconclusive, Interrupted, MeshFailed, Passed};
    assert_eq!(Passed.worse(Inconclusive), Inconclusive);
    assert_eq!(MeshFailed.worse(Inconclusive), MeshFailed);
    assert_eq!(MeshFailed.worse(EnvironmentFailed), EnvironmentFailed);
    assert_eq!(EnvironmentFailed.worse(Interrupted), Interrupted);
    for left in RunOutcome::ALL {
        for right in RunOutcome::ALL {
            assert_eq!(left.worse(right), right.worse(left));
        }
    }
}

mod several;
mod summaries;
