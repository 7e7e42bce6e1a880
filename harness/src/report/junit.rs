//! `junit.xml`: a suite for the environment and one for each scenario, with a case for each step.
//!
//! JUnit knows no third verdict, so an inconclusive step is a failure of type `inconclusive`: it must not look green.
//! The suite of the environment is there when bring-up failed, too, so that a CI page never shows an empty report.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use verdict::Outcome;

use super::event::{PhaseOutcome, StepOutcome};
use super::record::{PhaseRecord, Record, ScenarioRecord, StepRecord};

/// The record as JUnit XML.
///
/// # Errors
/// Never in practice: the writer works in memory.
pub fn format(record: &Record) -> io::Result<Vec<u8>> {
    let mut report = Report::new("meshproof");
    report.set_time(Duration::from_millis(record.duration_ms));
    report.add_test_suite(environment(record));
    report.add_test_suites(record.scenarios.iter().map(scenario));
    report.to_string().map(String::into_bytes).map_err(io::Error::other)
}

fn environment(record: &Record) -> TestSuite {
    let mut suite = TestSuite::new(format!("environment {}", record.environment));
    suite.add_property(("runId", record.run_id.as_str()));
    suite.add_property(("command", record.command.as_str()));
    suite.add_test_cases(record.phases.iter().map(phase));
    for failure in &record.failures {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("environment").set_message(failure.message.as_str());
        let details: Vec<&str> = failure.cure.iter().chain(&failure.evidence).map(String::as_str).collect();
        if !details.is_empty() {
            status.set_description(details.join("\n"));
        }
        suite.add_test_case(TestCase::new("run", status));
    }
    suite
}

fn phase(phase: &PhaseRecord) -> TestCase {
    let status = match phase.outcome {
        Some(PhaseOutcome::Done) => TestCaseStatus::success(),
        Some(PhaseOutcome::Skipped) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(phase.detail.as_str());
            status
        }
        Some(PhaseOutcome::Failed) => not_green(NonSuccessKind::Error, "environment", &phase.detail),
        None => not_green(NonSuccessKind::Error, "environment", "did not finish"),
    };
    let mut case = TestCase::new(format!("{}: {}", phase.id, phase.title), status);
    case.set_time(Duration::from_millis(phase.duration_ms));
    case
}

fn scenario(scenario: &ScenarioRecord) -> TestSuite {
    let mut suite = TestSuite::new(scenario.name.as_str());
    suite.set_time(Duration::from_millis(scenario.duration_ms));
    suite.add_property(("file", scenario.file.as_str()));
    if let Some(environment) = &scenario.environment {
        suite.add_property(("environment", environment.as_str()));
    }
    suite.add_test_cases(scenario.leaves().map(|step| self::step(scenario, step)));
    // A part of a control that could not be carried out is the cause of what the control reports.
    let broken =
        scenario.steps.iter().filter(|step| step.is_part_of_control() && step.outcome != Some(StepOutcome::Passed));
    suite.add_test_cases(broken.map(|step| self::step(scenario, step)));
    suite
}

fn step(scenario: &ScenarioRecord, step: &StepRecord) -> TestCase {
    let mut case = TestCase::new(format!("{} {}", step.id, step.name), status(step));
    case.set_classname(scenario.name.as_str());
    case.set_time(Duration::from_millis(step.duration_ms));
    case.set_assertions(step.checks.len());
    let text = evidence(step);
    if !text.is_empty() {
        case.set_system_out(text);
    }
    case
}

fn status(step: &StepRecord) -> TestCaseStatus {
    match &step.outcome {
        Some(StepOutcome::Passed) => TestCaseStatus::success(),
        Some(StepOutcome::Failed) => not_green(NonSuccessKind::Failure, "mesh", &cause(step, Outcome::Fail)),
        Some(StepOutcome::Inconclusive) => {
            not_green(NonSuccessKind::Failure, "inconclusive", &cause(step, Outcome::Inconclusive))
        }
        Some(StepOutcome::Skipped { reason }) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        Some(StepOutcome::Errored { message }) => not_green(NonSuccessKind::Error, "environment", message),
        None => not_green(NonSuccessKind::Error, "environment", "did not finish"),
    }
}

fn not_green(kind: NonSuccessKind, class: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(class).set_message(message);
    status
}

/// The first sentence of the first check with that outcome.
fn cause(step: &StepRecord, outcome: Outcome) -> String {
    let check = step.checks.iter().find(|check| check.outcome == outcome);
    match check.and_then(|check| check.evidence.first().map(|evidence| (check, evidence))) {
        Some((check, evidence)) => format!("{}: {evidence}", check.name),
        None => step.evidence.first().cloned().unwrap_or_else(|| outcome.word().to_owned()),
    }
}

fn evidence(step: &StepRecord) -> String {
    let mut lines: Vec<String> = Vec::new();
    for check in &step.checks {
        let place = check.location.as_ref().map(|location| format!(" ({location})")).unwrap_or_default();
        lines.push(format!("{}: {}{place}", check.name, check.outcome));
        lines.extend(check.evidence.iter().map(|sentence| format!("  {sentence}")));
    }
    lines.extend(step.evidence.iter().cloned());
    lines.join("\n")
}
