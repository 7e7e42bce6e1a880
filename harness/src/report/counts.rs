//! How many steps of a run ended how.

use super::event::StepOutcome;
use super::record::{Record, ScenarioRecord};

/// How many steps ended how; groups are not counted, their members are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Proved, or simply done.
    pub passed: usize,
    /// Refuted.
    pub failed: usize,
    /// Not decided.
    pub inconclusive: usize,
    /// Not run, with a reason.
    pub skipped: usize,
    /// Could not be carried out.
    pub errored: usize,
}

impl Record {
    /// How many steps of all scenarios ended how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in self.scenarios.iter().flat_map(ScenarioRecord::leaves) {
            match &step.outcome {
                Some(StepOutcome::Passed) => counts.passed += 1,
                Some(StepOutcome::Failed) => counts.failed += 1,
                Some(StepOutcome::Inconclusive) => counts.inconclusive += 1,
                Some(StepOutcome::Skipped { .. }) => counts.skipped += 1,
                Some(StepOutcome::Errored { .. }) | None => counts.errored += 1,
            }
        }
        counts
    }
}
