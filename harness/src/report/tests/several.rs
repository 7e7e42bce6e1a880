//! Runs of several scenarios: at once, and repeated.

use super::*;

fn started(name: &str, repetition: Option<u32>) -> EventKind {
    let repetition = repetition.map(|number| Repetition { of: name.to_owned(), number });
    EventKind::ScenarioStarted {
        scenario: repetition.as_ref().map_or_else(|| name.to_owned(), ToString::to_string),
        description: "One.".to_owned(),
        file: format!("{name}.yaml"),
        environment: None,
        repetition,
    }
}

fn finished(name: &str, outcome: StepOutcome) -> EventKind {
    EventKind::ScenarioFinished { scenario: name.to_owned(), outcome }
}

fn step(scenario: &str, end: Option<StepOutcome>) -> EventKind {
    let (scenario, step) = (scenario.to_owned(), "1".to_owned());
    match end {
        None => EventKind::StepStarted { scenario, step, name: "it works".to_owned() },
        Some(outcome) => EventKind::StepFinished { scenario, step, outcome, evidence: vec!["seen".to_owned()] },
    }
}

#[test]
fn lines_say_which_of_several_scenarios_they_are_of() {
    let events = timed(vec![
        started("a", None),
        step("a", None),
        started("b", None),
        step("b", None),
        step("a", Some(StepOutcome::Passed)),
        step("b", Some(StepOutcome::Passed)),
        finished("b", StepOutcome::Passed),
        finished("a", StepOutcome::Passed),
    ]);
    let text = on_console(&events, false);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("1 it works") || line.contains("seen")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[..2].iter().all(|line| line.starts_with("[a] ")), "{text}");
    assert!(lines[2..].iter().all(|line| line.starts_with("[b] ")), "{text}");
}

#[test]
fn every_report_shows_each_repetition_and_their_counts() {
    let mut events = Vec::new();
    for (number, outcome) in [(1, StepOutcome::Passed), (2, StepOutcome::Failed), (3, StepOutcome::Passed)] {
        let name = format!("a, repetition {number}");
        let end = [step(&name, None), step(&name, Some(outcome.clone())), finished(&name, outcome)];
        events.extend([started("a", Some(number))].into_iter().chain(end));
    }
    events.push(EventKind::RunFinished { outcome: RunOutcome::MeshFailed });
    let events = timed(events);
    let record = record(&events);
    let counted = "2 of 3 passed, 1 FAILED";

    let console = on_console(&events, false);
    assert!(console.contains(&format!("{counted}: a")) && console.contains("FAIL a, repetition 2"), "{console}");
    let junit = text(junit::format(&record));
    for number in 1..=3 {
        assert!(junit.contains(&format!("name=\"a, repetition {number}\"")), "{junit}");
    }
    let json = text(json::format(&record));
    assert!(json.contains("\"repetitions\"") && json.contains("\"number\": 3"), "{json}");
    let page = html::page(&record);
    assert!(page.contains("Scenarios over time"), "{page}");
    assert!(page.contains(counted) && page.contains("href=\"#scenario-1\""), "{page}");
    assert!(summary::markdown(&record).contains(&format!("- a: {counted}")));
}

#[test]
fn every_report_says_on_which_of_several_environments_a_scenario_ran() {
    let mut events = vec![started("a", None), step("a", None), step("a", Some(StepOutcome::Failed))];
    if let EventKind::ScenarioStarted { environment, .. } = &mut events[0] {
        *environment = Some("second".to_owned());
    }
    events.extend([finished("a", StepOutcome::Failed), EventKind::RunFinished { outcome: RunOutcome::MeshFailed }]);
    let events = timed(events);
    let mut record = record(&events);
    (record.command, record.environment) = ("run".to_owned(), "first, second".to_owned());
    assert!(on_console(&events, false).contains("One. (on second)"));
    let json = text(json::format(&record));
    assert!(json.contains("\"environment\": \"second\""), "{json}");
    let junit = text(junit::format(&record));
    assert!(junit.contains("<property name=\"environment\" value=\"second\"/>"), "{junit}");
    let page = html::page(&record);
    assert!(page.contains("on <code>second</code>"), "{page}");
    let again = layer::reproduce(&record, &record.scenarios[0]);
    assert_eq!(again, "cargo xtask run a.yaml --name second");
}
