//! `--last-failed`: the scenarios that did not pass when they last ran, by the recorded runs.

use super::report::{all, complain, read};
use crate::report::event::StepOutcome;
use crate::report::{Record, RunOutcome};
use crate::scenario::Plan;

/// The plans whose scenarios did not pass in the newest recorded run that was to run them.
///
/// # Errors
/// The exit code, after it was said why there are none.
pub(super) fn only_last_failed(plans: Vec<Plan>) -> Result<Vec<Plan>, RunOutcome> {
    let (place, runs) = all()?;
    let records: Vec<Record> = runs.iter().filter_map(|run| read(&run.path).ok()).collect();
    if records.iter().all(|record| record.selected.is_empty()) {
        return Err(nothing(&format!("no run with scenarios is recorded in {place}"), "leave --last-failed out"));
    }
    let failed = last_failed(&records);
    let chosen: Vec<Plan> =
        plans.into_iter().filter(|plan| failed.iter().any(|failure| failure.scenario == plan.name)).collect();
    if !chosen.is_empty() {
        for plan in &chosen {
            let run = failed.iter().find(|failure| failure.scenario == plan.name).map(|failure| &failure.run_id);
            eprintln!("note: {} did not pass in run {}", plan.name, run.map_or("", String::as_str));
        }
        return Ok(chosen);
    }
    if failed.is_empty() {
        return Err(nothing(
            "every recorded scenario passed when it last ran",
            "leave --last-failed out to run them again",
        ));
    }
    let names: Vec<&str> = failed.iter().map(|failure| failure.scenario.as_str()).collect();
    let help = "name the files that they are in, or leave --last-failed out";
    Err(nothing(&format!("none of the scenarios that did not pass is selected: {}", names.join(", ")), help))
}

fn nothing(message: &str, help: &str) -> RunOutcome {
    complain(message, help, RunOutcome::NothingSelected)
}

/// A scenario that did not pass when it last ran.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    scenario: String,
    run_id: String,
}

/// From records, newest first. A run that had other scenarios says nothing of these.
fn last_failed(records: &[Record]) -> Vec<Failure> {
    let mut known: Vec<&String> = Vec::new();
    let mut failed = Vec::new();
    for record in records {
        let names = not_passed(record);
        for scenario in &record.selected {
            if known.contains(&scenario) {
                continue;
            }
            known.push(scenario);
            if names.contains(scenario) {
                failed.push(Failure { scenario: scenario.clone(), run_id: record.run_id.clone() });
            }
        }
    }
    failed
}

/// Names of scenarios that were to be run and did not pass each time, also those that the run did not get to.
pub(super) fn not_passed(record: &Record) -> Vec<String> {
    let passed = |name: &String| {
        let mut scenarios = record.scenarios.iter().filter(|scenario| scenario.catalogue_name() == name).peekable();
        scenarios.peek().is_some() && scenarios.all(|scenario| scenario.outcome == Some(StepOutcome::Passed))
    };
    record.selected.iter().filter(|name| !passed(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::{Event, EventKind};

    /// A run of scenarios that ended so; `None` began and did not end.
    fn record(run_id: &str, selected: &[&str], ends: &[(&str, Option<StepOutcome>)]) -> Record {
        let mut record = Record { run_id: run_id.to_owned(), ..Record::default() };
        let mut add = |kind| record.add(&Event { elapsed: Duration::ZERO, kind });
        let scenarios = selected.iter().map(|name| (*name).to_owned()).collect();
        add(EventKind::PlanReady { text: String::new(), scenarios, requests: 0 });
        for (name, outcome) in ends {
            add(EventKind::ScenarioStarted {
                scenario: (*name).to_owned(),
                description: String::new(),
                file: String::new(),
                environment: None,
                repetition: None,
            });
            if let Some(outcome) = outcome.clone() {
                add(EventKind::ScenarioFinished { scenario: (*name).to_owned(), outcome });
            }
        }
        record
    }

    const PASSED: Option<StepOutcome> = Some(StepOutcome::Passed);
    const FAILED: Option<StepOutcome> = Some(StepOutcome::Failed);

    #[test]
    fn what_was_not_reached_did_not_pass_either() {
        let ends = [("good", PASSED), ("bad", Some(StepOutcome::Inconclusive)), ("unfinished", None)];
        let record = record("1", &["good", "bad", "unreached", "unfinished"], &ends);
        assert_eq!(not_passed(&record), ["bad", "unreached", "unfinished"]);
    }

    #[test]
    fn a_newer_run_of_other_scenarios_hides_no_failure_and_one_of_the_same_does() {
        let newest_first = [
            record("4", &["healed"], &[("healed", PASSED)]),
            record("3", &["other"], &[("other", PASSED)]),
            record("2", &[], &[]),
            record("1", &["bad", "healed", "other"], &[("bad", FAILED), ("healed", FAILED), ("other", FAILED)]),
            record("0", &["bad", "old"], &[("bad", PASSED), ("old", FAILED)]),
        ];
        let failure =
            |scenario: &str, run_id: &str| Failure { scenario: scenario.to_owned(), run_id: run_id.to_owned() };
        assert_eq!(last_failed(&newest_first), [failure("bad", "1"), failure("old", "0")]);
    }
}
