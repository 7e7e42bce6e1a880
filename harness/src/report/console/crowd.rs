//! Which scenarios run at once, so that lines say which one they are of.

use std::collections::BTreeSet;

use crate::report::event::EventKind;

/// Scenarios under way.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    running: BTreeSet<String>,
    /// Those that had company: what is told of them afterwards may stand below lines of others.
    mixed: BTreeSet<String>,
}

impl Crowd {
    /// Takes note of beginnings and ends.
    pub(super) fn on_event(&mut self, event: &EventKind) {
        match event {
            EventKind::ScenarioStarted { scenario, .. } => {
                self.running.insert(scenario.clone());
                if self.running.len() > 1 {
                    self.mixed.extend(self.running.iter().cloned());
                }
            }
            EventKind::ScenarioFinished { scenario, .. } => {
                self.running.remove(scenario);
                self.mixed.remove(scenario);
            }
            _ => {}
        }
    }

    /// What lines of a scenario begin with.
    pub(super) fn prefix(&self, scenario: &str) -> String {
        if self.mixed.contains(scenario) { format!("[{scenario}] ") } else { String::new() }
    }
}

/// The scenario that an event is of.
pub(super) fn scenario_of(event: &EventKind) -> Option<&str> {
    match event {
        EventKind::StepStarted { scenario, .. }
        | EventKind::StepFinished { scenario, .. }
        | EventKind::ArtifactsTaken { scenario, .. } => Some(scenario),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::StepOutcome;

    #[test]
    fn who_had_company_is_named_until_the_end() {
        let mut crowd = Crowd::default();
        let started = |scenario: &str| EventKind::ScenarioStarted {
            scenario: scenario.to_owned(),
            description: String::new(),
            file: String::new(),
            environment: None,
            repetition: None,
        };
        let ended = |scenario: &str| EventKind::ScenarioFinished {
            scenario: scenario.to_owned(),
            outcome: StepOutcome::Passed,
        };
        crowd.on_event(&started("a"));
        assert_eq!(crowd.prefix("a"), "");
        crowd.on_event(&started("b"));
        assert_eq!((crowd.prefix("a").as_str(), crowd.prefix("b").as_str()), ("[a] ", "[b] "));
        crowd.on_event(&ended("b"));
        assert_eq!(crowd.prefix("a"), "[a] ");
        crowd.on_event(&ended("a"));
        crowd.on_event(&started("c"));
        assert_eq!(crowd.prefix("c"), "");
    }
}
