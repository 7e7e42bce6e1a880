//! Where scenarios are repeated: how often each ended how. A repetition never hides another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::StepOutcome;
use super::record::ScenarioRecord;

/// How often a scenario ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Its name in the catalogue.
    pub scenario: String,
    /// Times it was begun.
    pub begun: u32,
    /// Times everything was proved.
    pub passed: u32,
    /// Times something was refuted.
    pub failed: u32,
    /// Times the sample did not decide.
    pub inconclusive: u32,
    /// Times it could not be carried out.
    pub errored: u32,
    /// Times this environment could not do it.
    pub skipped: u32,
}

impl Tally {
    /// `9 of 10 passed, 1 FAILED`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let others = [
            (self.failed, "FAILED"),
            (self.inconclusive, "inconclusive"),
            (self.errored, "ERROR"),
            (self.skipped, "skipped"),
            (self.unfinished(), "not finished"),
        ];
        let others =
            others.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}"));
        format!("{} of {} passed{}", self.passed, self.begun, others.collect::<String>())
    }

    /// Times it was begun and did not end.
    #[must_use]
    pub fn unfinished(&self) -> u32 {
        self.begun - self.passed - self.failed - self.inconclusive - self.errored - self.skipped
    }

    fn add(&mut self, outcome: Option<&StepOutcome>) {
        self.begun += 1;
        match outcome {
            Some(StepOutcome::Passed) => self.passed += 1,
            Some(StepOutcome::Failed) => self.failed += 1,
            Some(StepOutcome::Inconclusive) => self.inconclusive += 1,
            Some(StepOutcome::Errored { .. }) => self.errored += 1,
            Some(StepOutcome::Skipped { .. }) => self.skipped += 1,
            None => {}
        }
    }
}

/// One tally for each scenario that was repeated, in the order in which they first started.
pub(super) fn tallies(scenarios: &[ScenarioRecord]) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = Vec::new();
    for record in scenarios {
        let Some(repetition) = &record.repetition else { continue };
        let position = tallies.iter().position(|tally| tally.scenario == repetition.of).unwrap_or_else(|| {
            tallies.push(Tally { scenario: repetition.of.clone(), ..Tally::default() });
            tallies.len() - 1
        });
        tallies[position].add(record.outcome.as_ref());
    }
    tallies
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event::{Event, EventKind, Repetition};
    use super::super::record::Record;
    use super::*;

    fn record(ends: &[(&str, u32, Option<StepOutcome>)]) -> Record {
        let mut record = Record::default();
        let mut add = |kind| record.add(&Event { elapsed: Duration::ZERO, kind });
        for (name, number, outcome) in ends {
            let repetition = Repetition { of: (*name).to_owned(), number: *number };
            let scenario = repetition.to_string();
            add(EventKind::ScenarioStarted {
                scenario: scenario.clone(),
                description: String::new(),
                file: String::new(),
                environment: None,
                repetition: Some(repetition),
            });
            if let Some(outcome) = outcome.clone() {
                add(EventKind::ScenarioFinished { scenario, outcome });
            }
        }
        record
    }

    #[test]
    fn every_repetition_counts_and_none_hides_another() {
        let errored = StepOutcome::Errored { message: "no cluster".to_owned() };
        let skipped = StepOutcome::Skipped { reason: "no link".to_owned() };
        let record = record(&[
            ("a", 1, Some(StepOutcome::Failed)),
            ("b", 1, Some(skipped)),
            ("a", 2, Some(StepOutcome::Passed)),
            ("b", 2, Some(errored)),
            ("a", 3, Some(StepOutcome::Inconclusive)),
            ("b", 3, None),
        ]);
        let sentences: Vec<String> = record.repetitions.iter().map(Tally::sentence).collect();
        assert_eq!(
            sentences,
            ["1 of 3 passed, 1 FAILED, 1 inconclusive", "0 of 3 passed, 1 ERROR, 1 skipped, 1 not finished"]
        );
        assert_eq!(record.scenarios[2].name, "a, repetition 2");
        assert_eq!(record.scenarios[2].catalogue_name(), "a");
    }
}
