//! What came of controls: which assertion turned red, by which change of the mesh, and what it said then. Pure.

use std::fmt::Write as _;

use serde::Serialize;
use verdict::Outcome;

use super::event::CheckReport;
use super::record::{Record, ScenarioRecord};
use crate::scenario::kind::Kind;
use crate::scenario::refutation::Refutation;

/// Whether an assertion went red.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it must.
    Red,
    /// The change did not refute it: it would not notice a mesh that is broken so.
    Green,
    /// The sample did not decide.
    Undecided,
    /// The run did not get to it.
    NotReached,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "NOT RED",
            Self::Undecided => "undecided",
            Self::NotReached => "not reached",
        }
    }
}

/// One assertion and one change of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Kind of the assertion.
    pub kind: &'static str,
    /// What was changed.
    pub mutation: String,
    /// In which scenario.
    pub scenario: String,
    /// By which control.
    pub control: String,
    /// What the assertion said.
    pub said: String,
    /// Whether it went red.
    pub verdict: Verdict,
}

/// A row for each refutation, by kind, from the records of all runs.
#[must_use]
pub fn rows(refutations: &[Refutation], records: &[Record]) -> Vec<Row> {
    let mut ordered: Vec<&Refutation> = refutations.iter().collect();
    ordered.sort_by_key(|one| one.kind);
    ordered.into_iter().map(|one| row(one, records)).collect()
}

fn row(refutation: &Refutation, records: &[Record]) -> Row {
    let of_scenario = |scenario: &&ScenarioRecord| scenario.name == refutation.scenario;
    let scenario = records.iter().flat_map(|record| &record.scenarios).find(of_scenario);
    let step = scenario.and_then(|scenario| scenario.steps.iter().find(|step| step.id == refutation.step));
    let name = refutation.verdict_name();
    // Several expectations of a step can have the same name.
    let is_its = |check: &&CheckReport| check.name == name && check.location.as_ref() == Some(&refutation.location);
    let check = step.and_then(|step| step.checks.iter().find(is_its));
    let verdict = match check.map(|check| check.outcome) {
        Some(Outcome::Pass) => Verdict::Red,
        Some(Outcome::Fail) => Verdict::Green,
        Some(Outcome::Inconclusive) => Verdict::Undecided,
        None => Verdict::NotReached,
    };
    Row {
        kind: refutation.kind.word(),
        mutation: refutation.mutation.clone(),
        scenario: refutation.scenario.clone(),
        control: refutation.control.clone(),
        said: check.and_then(|check| check.evidence.first()).cloned().unwrap_or_default(),
        verdict,
    }
}

/// The rows as a table for people, and what they add up to.
#[must_use]
pub fn table(rows: &[Row], uncontrolled: &[Kind]) -> String {
    let cells = |row: &Row| {
        let (mutation, scenario, said) = (cut(&row.mutation, 60), cut(&row.scenario, 44), cut(&row.said, 110));
        vec![row.kind.to_owned(), mutation, scenario, row.verdict.word().to_owned(), said]
    };
    let red = rows.iter().filter(|row| row.verdict == Verdict::Red).count();
    let head = ["assertion", "mutation", "scenario", "verdict", "what it said"];
    aligned(&head, rows.iter().map(cells)) + &format!("\n{red} of {} turned red; {}\n", rows.len(), kinds(uncontrolled))
}

/// The controls that there are, without their verdicts.
#[must_use]
pub fn list(rows: &[Row], uncontrolled: &[Kind]) -> String {
    let cells = |row: &Row| vec![row.kind.to_owned(), row.scenario.clone(), row.mutation.clone()];
    let table = aligned(&["assertion", "scenario", "mutation"], rows.iter().map(cells));
    table + &format!("\n{} controls; {}\n", rows.len(), kinds(uncontrolled))
}

fn kinds(uncontrolled: &[Kind]) -> String {
    let words: Vec<&str> = uncontrolled.iter().map(|kind| kind.word()).collect();
    let without = if words.is_empty() { String::new() } else { format!("; without: {}", words.join(", ")) };
    let (known, all) = (Kind::ALL.len() - uncontrolled.len(), Kind::ALL.len());
    format!("{known} of {all} kinds of assertion have a control{without}")
}

/// A cell of a table has no room to say what was left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn aligned(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..all[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _infallible = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::diagnostic::Location;
    use crate::report::event::{Event, EventKind};

    fn location(line: usize) -> Location {
        Location { file: "shift.yaml".to_owned(), line, column: 3 }
    }

    fn refutation(kind: Kind, step: &str) -> Refutation {
        Refutation {
            kind,
            scenario: "shift".to_owned(),
            step: step.to_owned(),
            control: "control: nothing".to_owned(),
            mutation: "delete VirtualService/bookinfo/reviews on cluster1".to_owned(),
            expectation: kind.word().to_owned(),
            location: location(7),
        }
    }

    fn record(verdicts: &[(&str, Kind, Outcome)]) -> Record {
        let mut record = Record::default();
        let mut add = |kind| record.add(&Event { elapsed: Duration::ZERO, kind });
        let scenario = || "shift".to_owned();
        add(EventKind::ScenarioStarted {
            scenario: scenario(),
            description: String::new(),
            file: String::new(),
            environment: None,
            repetition: None,
        });
        for (step, kind, outcome) in verdicts {
            let step = (*step).to_owned();
            add(EventKind::StepStarted { scenario: scenario(), step: step.clone(), name: "a control".to_owned() });
            let check = CheckReport {
                name: format!("{} must be refuted", kind.word()),
                outcome: *outcome,
                evidence: vec![format!("the {} is off", kind.word())],
                location: Some(location(7)),
                figures: serde_json::Value::Null,
            };
            add(EventKind::CheckFinished { scenario: scenario(), step, check });
        }
        record
    }

    #[test]
    fn each_control_gets_the_verdict_of_its_own_run() {
        let refutations = [
            refutation(Kind::Latency, "4"),
            refutation(Kind::Mtls, "3"),
            refutation(Kind::Split, "2"),
            refutation(Kind::Split, "9"),
        ];
        let seen = [
            ("2", Kind::Split, Outcome::Pass),
            ("3", Kind::Mtls, Outcome::Fail),
            ("4", Kind::Latency, Outcome::Inconclusive),
        ];
        let rows = rows(&refutations, &[Record::default(), record(&seen)]);
        let verdicts: Vec<(&str, Verdict)> = rows.iter().map(|row| (row.kind, row.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("split", Verdict::Red),
                ("split", Verdict::NotReached),
                ("mtls", Verdict::Green),
                ("latency", Verdict::Undecided)
            ]
        );
        insta::assert_snapshot!(table(&rows, &[Kind::Failover]));
    }

    #[test]
    fn two_expectations_of_one_name_have_a_verdict_each() {
        let mut record = record(&[("2", Kind::Cel, Outcome::Pass)]);
        let checks = &mut record.scenarios[0].steps[0].checks;
        checks.push(CheckReport { outcome: Outcome::Fail, location: Some(location(8)), ..checks[0].clone() });
        let second = Refutation { location: location(8), ..refutation(Kind::Cel, "2") };
        let rows = rows(&[refutation(Kind::Cel, "2"), second], &[record]);
        assert_eq!(rows.iter().map(|row| row.verdict).collect::<Vec<_>>(), [Verdict::Red, Verdict::Green]);
    }
}
