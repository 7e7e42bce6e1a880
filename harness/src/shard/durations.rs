//! How long scenarios and bring-ups take, by recorded runs: what shards are divided by. A file with it is committed, so that
//! every shard divides alike. Pure; [`crate::cli::shards`] reads the file, `meshproof report durations` writes it.
//!
//! Scenarios run at once, so what counts of one is not how long it took but how much longer its run was for it: each moment
//! of a run is shared out among the scenarios that ran then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::record::{Record, ScenarioRecord};
use crate::report::{RunOutcome, StepOutcome};
use crate::topology::file::ApiVersion;

/// Where the file is, below the folder that holds `scenarios/`.
pub const FILE: &str = "scenarios/durations.json";

/// What a scenario takes where none was recorded.
const SCENARIO: u64 = 10_000;
/// What a bring-up takes where none was recorded.
const BRING_UP: u64 = 30_000;
/// Nothing takes longer.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Durations are recorded in steps of this: what is less is noise, and would change lines of a committed file.
const STEP: u64 = 100;

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Durations,
}

/// Recorded durations, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Durations {
    api_version: ApiVersion,
    kind: Kind,
    /// Bring-up and tear-down, by topology.
    pub bring_up_ms: BTreeMap<String, u64>,
    /// Scenarios by name, each case of a matrix for itself.
    pub scenario_ms: BTreeMap<String, u64>,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::Durations,
            bring_up_ms: BTreeMap::new(),
            scenario_ms: BTreeMap::new(),
        }
    }
}

impl Durations {
    /// Of a scenario; the median of all where it was not recorded.
    #[must_use]
    pub fn of_scenario(&self, name: &str) -> u64 {
        known_or_median(&self.scenario_ms, name, SCENARIO)
    }

    /// Of a bring-up with its tear-down; the median of all where it was not recorded.
    #[must_use]
    pub fn of_bring_up(&self, topology: &str) -> u64 {
        known_or_median(&self.bring_up_ms, topology, BRING_UP)
    }

    /// With what other records say in place of what these said of the same.
    #[must_use]
    pub fn updated(mut self, newer: Self) -> Self {
        self.bring_up_ms.extend(newer.bring_up_ms);
        self.scenario_ms.extend(newer.scenario_ms);
        self
    }

    /// The file.
    ///
    /// # Errors
    /// Never in practice: there is nothing in it that JSON cannot hold.
    pub fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

fn known_or_median(known: &BTreeMap<String, u64>, name: &str, otherwise: u64) -> u64 {
    let known = known.get(name).copied().or_else(|| median(known.values().copied().collect()));
    // The file may be a user's: sums of what nothing takes would overflow.
    known.unwrap_or(otherwise).min(DAY)
}

/// The lower of the two in the middle, where there are two.
fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len().checked_sub(1)? / 2).copied()
}

/// What runs tell: scenarios that passed, and the bring-ups of environments that were made for one run and in which one ran.
/// The mean where there are several.
#[must_use]
pub fn recorded(records: &[Record]) -> Durations {
    let mut bring_ups: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut scenarios: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let shares = shares(&record.scenarios);
        for (scenario, share) in record.scenarios.iter().zip(&shares) {
            if scenario.outcome == Some(StepOutcome::Passed) {
                scenarios.entry(scenario.catalogue_name().to_owned()).or_default().push(*share);
            }
        }
        if let Some(topology) = own_environment(record) {
            let rest = record.duration_ms.saturating_sub(shares.iter().sum());
            bring_ups.entry(topology.to_owned()).or_default().push(rest);
        }
    }
    Durations { bring_up_ms: means(bring_ups), scenario_ms: means(scenarios), ..Durations::default() }
}

/// The topology of a run that brought one environment up, ran scenarios, and took it down.
fn own_environment(record: &Record) -> Option<&str> {
    let ended = matches!(record.outcome, Some(RunOutcome::Passed | RunOutcome::Inconclusive | RunOutcome::MeshFailed));
    match &record.topologies[..] {
        [topology] if ended && record.command == "e2e" && !record.scenarios.is_empty() => Some(&topology.name),
        _ => None,
    }
}

fn means(all: BTreeMap<String, Vec<u64>>) -> BTreeMap<String, u64> {
    let mean = |values: Vec<u64>| values.iter().sum::<u64>() / (values.len() as u64).max(1);
    let rounded = |value: u64| (value + STEP / 2) / STEP * STEP;
    all.into_iter().map(|(name, values)| (name, rounded(mean(values)).max(STEP))).collect()
}

/// For each scenario its share of the time of the run, in milliseconds: together all of the time in which one ran.
fn shares(scenarios: &[ScenarioRecord]) -> Vec<u64> {
    let end = |scenario: &ScenarioRecord| scenario.started_ms + scenario.duration_ms;
    let mut moments: Vec<u64> = scenarios.iter().flat_map(|scenario| [scenario.started_ms, end(scenario)]).collect();
    moments.sort_unstable();
    moments.dedup();
    let mut shares = vec![0.0; scenarios.len()];
    for (from, to) in moments.iter().zip(moments.iter().skip(1)) {
        let runs = |at: &usize| scenarios[*at].started_ms <= *from && end(&scenarios[*at]) >= *to;
        let running: Vec<usize> = (0..scenarios.len()).filter(runs).collect();
        running.iter().for_each(|at| shares[*at] += (to - from) as f64 / running.len() as f64);
    }
    shares.into_iter().map(|share: f64| share.round() as u64).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::{Event, EventKind};

    const PASSED: StepOutcome = StepOutcome::Passed;

    #[test]
    fn what_nothing_takes_cannot_overflow_a_sum() {
        let scenario_ms = BTreeMap::from([("one".to_owned(), u64::MAX), ("two".to_owned(), 5)]);
        let durations = Durations { scenario_ms, ..Durations::default() };
        assert_eq!([durations.of_scenario("one"), durations.of_scenario("two")], [DAY, 5]);
    }

    /// A run of scenarios with their beginnings, ends and outcomes, in seconds, that took 100 s in all.
    fn record(command: &str, scenarios: &[(&str, u64, u64, StepOutcome)]) -> Record {
        let mut record = Record { command: command.to_owned(), ..Record::default() };
        let mut events = Vec::new();
        for (name, from, to, outcome) in scenarios {
            let scenario = (*name).to_owned();
            events.push((
                *from,
                EventKind::ScenarioStarted {
                    scenario: scenario.clone(),
                    description: String::new(),
                    file: String::new(),
                    environment: None,
                    repetition: None,
                },
            ));
            events.push((*to, EventKind::ScenarioFinished { scenario, outcome: outcome.clone() }));
        }
        events.push((100, EventKind::RunFinished { outcome: RunOutcome::Passed }));
        events.sort_by_key(|(at, _)| *at);
        for (at, kind) in events {
            record.add(&Event { elapsed: Duration::from_secs(at), kind });
        }
        record.topologies.push(serde_json::from_value(serde_json::json!({
            "name": "two", "description": "", "trustDomain": "d", "clusters": [], "gateways": [], "workloads": [], "vms": [],
        })).expect("a topology"));
        record
    }

    fn map<const N: usize>(entries: [(&str, u64); N]) -> BTreeMap<String, u64> {
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn what_runs_at_once_shares_the_time() {
        let record = record("e2e", &[("a", 10, 40, PASSED), ("b", 20, 40, PASSED), ("c", 50, 60, PASSED)]);
        let durations = recorded(&[record]);
        assert_eq!(durations.scenario_ms, map([("a", 20_000), ("b", 10_000), ("c", 10_000)]));
        assert_eq!(durations.bring_up_ms, map([("two", 60_000)]), "the rest of 100 s");
    }

    #[test]
    fn only_what_passed_tells_how_long_it_takes_and_only_own_environments_are_brought_up() {
        let failed = record("run", &[("a", 0, 10, StepOutcome::Failed), ("b", 0, 10, PASSED)]);
        let durations = recorded(&[failed]);
        assert_eq!(durations.scenario_ms, map([("b", 5_000)]));
        assert!(durations.bring_up_ms.is_empty());
    }

    #[test]
    fn several_runs_are_averaged_and_newer_ones_replace_what_is_known() {
        let runs = [record("run", &[("a", 0, 10, PASSED)]), record("run", &[("a", 0, 20, PASSED)])];
        let known = Durations { scenario_ms: map([("a", 1), ("b", 2)]), ..Durations::default() };
        assert_eq!(known.updated(recorded(&runs)).scenario_ms, map([("a", 15_000), ("b", 2)]));
    }

    #[test]
    fn what_is_not_known_takes_as_long_as_the_median() {
        let durations = Durations {
            scenario_ms: map([("a", 1), ("b", 5), ("c", 900)]),
            bring_up_ms: map([("x", 7), ("y", 9)]),
            ..Durations::default()
        };
        assert_eq!(["a", "new"].map(|name| durations.of_scenario(name)), [1, 5]);
        assert_eq!(["y", "new"].map(|name| durations.of_bring_up(name)), [9, 7]);
        let nothing = Durations::default();
        assert_eq!((nothing.of_scenario("a"), nothing.of_bring_up("x")), (SCENARIO, BRING_UP));
    }

    #[test]
    fn the_file_comes_back_as_it_was_and_another_kind_is_refused() {
        let durations = Durations { scenario_ms: map([("a[b=c]", 100)]), ..Durations::default() };
        let text = durations.text().expect("JSON");
        assert_eq!(serde_json::from_str::<Durations>(&text).expect("read"), durations);
        assert!(serde_json::from_str::<Durations>(&text.replace("Durations", "Report")).is_err());
        assert!(serde_json::from_str::<Durations>(&text.replace("v1alpha1", "v9")).is_err());
    }
}
