//! Summaries of jobs on GitHub: how large they get, and which runs write one.

use super::*;
use crate::shard::ShardFacts;

/// A run in which so many steps failed for reasons that need escaping.
fn failing(steps: usize) -> Record {
    let sentence = "&|<".repeat(200);
    let mut kinds = vec![EventKind::ScenarioStarted {
        scenario: "shift".to_owned(),
        description: String::new(),
        file: String::new(),
        environment: None,
        repetition: None,
    }];
    for number in 0..steps {
        let step = number.to_string();
        kinds.push(step_started(&step, &sentence));
        kinds.push(check(&step, "split", Outcome::Fail, &[sentence.as_str(); 5]));
        kinds.push(step_finished(&step, StepOutcome::Failed, &[]));
    }
    kinds.push(EventKind::RunFinished { outcome: RunOutcome::MeshFailed });
    record(&timed(kinds))
}

#[test]
fn a_page_has_its_end_cut_off_and_says_so_and_all_pages_of_a_step_fit_what_github_takes() {
    let record = failing(150);
    let page = summary::markdown(&record);
    assert!(page.len() <= 256 * 1024 && page.contains(" more lines are in report.html\n"), "{} bytes", page.len());
    assert!(page.starts_with("## ❌ meshproof"), "what matters most comes first");
    let folder = tempfile::tempdir().expect("a folder");
    let path = camino::Utf8PathBuf::from_path_buf(folder.path().join("summary.md")).expect("UTF-8");
    for _ in 0..20 {
        summary::append(&path, |room| summary::markdown_within(&record, room)).expect("appended");
    }
    let all = std::fs::read_to_string(&path).expect("written");
    assert!(all.len() < 1024 * 1024 && all.matches("## ❌").count() >= 3, "{} bytes", all.len());
    for room in [0, 50, 100, 500] {
        assert!(summary::markdown_within(&record, room).len() <= room, "{room}");
    }
}

#[test]
fn of_many_scenarios_the_slowest_are_shown() {
    let mut record = record(&eventful());
    let one = record.scenarios[0].clone();
    for number in 0_u64..30 {
        let name = format!("number-{number}");
        record.scenarios.push(record::ScenarioRecord { name, duration_ms: 100_000 + number, ..one.clone() });
    }
    let page = summary::markdown(&record);
    assert!(
        page.contains("### Slowest") && page.contains("| number-29 |") && !page.contains("| number-19 |"),
        "{page}"
    );
}

#[test]
fn a_shard_writes_a_summary_only_where_it_did_not_pass() {
    let written = |outcome: RunOutcome, shard: bool| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = camino::Utf8PathBuf::from_path_buf(folder.path().join("summary.md")).expect("UTF-8");
        let mut kinds = vec![started("e2e")];
        if shard {
            let facts = ShardFacts { shard: "1/2".parse().expect("a shard"), selection: vec!["shift".to_owned()] };
            kinds.push(EventKind::ShardKnown { facts });
        }
        kinds.push(EventKind::RunFinished { outcome });
        let mut consumer = summary::JobSummary::new(path.clone());
        timed(kinds).iter().for_each(|event| consumer.on_event(event).expect("written"));
        std::fs::read_to_string(path).unwrap_or_default()
    };
    assert!(written(RunOutcome::Passed, false).contains("✅"));
    assert_eq!(written(RunOutcome::Passed, true), "");
    assert!(written(RunOutcome::MeshFailed, true).contains("run `1a2b3c4d`, shard 1/2, "));
}
