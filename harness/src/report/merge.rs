//! One record of those of several shards, as if one run had done everything. Pure; `meshproof report merge` reads and writes.
//!
//! A report of a part must never look like one of the whole: what is damaged, of another version, missing or there twice is
//! refused by name.

mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::RunOutcome;
use super::record::{Record, ScenarioRecord};
use super::tally::tallies;
use crate::shard::Shard;

pub use refusal::Refusal;

/// A run that is to be merged.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its folder, for messages and paths.
    pub folder: String,
    /// What its events add up to.
    pub record: Record,
    /// Lines of its journal that could not be read.
    pub unreadable: usize,
}

/// A run that a report was merged from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The shard that it was, or a part of: each topology of a shard has a run of its own.
    pub shard: Shard,
    /// Id of the run.
    pub run_id: String,
    /// Name of its environment.
    pub environment: String,
    /// Names of its topologies.
    pub topologies: Vec<String>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Scenarios that it was to run.
    pub scenarios: usize,
    /// When it began, in milliseconds since the first of all began.
    pub started_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// One record of all: with the worst outcome, and with times since the first run began.
///
/// # Errors
/// Everything that speaks against it, never nothing.
pub fn merge(mut sources: Vec<Source>) -> Result<Record, Vec<Refusal>> {
    refusal::refuse(&sources)?;
    let begun = |source: &Source| source.record.started.parse::<Timestamp>().unwrap_or_default();
    sources.sort_by_key(|source| (source.record.shard.as_ref().map(|facts| facts.shard), begun(source)));
    let first = sources.iter().map(begun).min().unwrap_or_default();
    let mut merged = head(&sources, first);
    for source in sources {
        let since = begun(&source).duration_since(first).as_millis();
        add(&mut merged, source, u64::try_from(since).unwrap_or(0));
    }
    merged.exit_code = merged.outcome.map(RunOutcome::exit_code);
    merged.repetitions = tallies(&merged.scenarios);
    Ok(merged)
}

/// What is said of all runs together.
fn head(sources: &[Source], started: Timestamp) -> Record {
    let distinct = |of: fn(&Record) -> &str| {
        let all: BTreeSet<&str> = sources.iter().map(|source| of(&source.record)).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    let facts = sources.iter().find_map(|source| source.record.shard.as_ref());
    Record {
        run_id: distinct(|record| &record.run_id),
        command: distinct(|record| &record.command),
        environment: format!("{} shards in {} runs", facts.map_or(0, |facts| facts.shard.of), sources.len()),
        started: started.to_string(),
        outcome: Some(RunOutcome::Passed),
        selected: facts.map(|facts| facts.selection.clone()).unwrap_or_default(),
        ..Record::default()
    }
}

fn add(merged: &mut Record, source: Source, since: u64) {
    let Source { folder, record, .. } = source;
    let Some(shard) = record.shard.map(|facts| facts.shard) else { return };
    let outcome = record.outcome.unwrap_or(RunOutcome::InternalError);
    merged.outcome = merged.outcome.map(|worst| worst.worse(outcome));
    merged.duration_ms = merged.duration_ms.max(since + record.duration_ms);
    merged.parts.push(Part {
        shard,
        run_id: record.run_id,
        environment: record.environment.clone(),
        topologies: record.topologies.iter().map(|topology| topology.name.clone()).collect(),
        outcome,
        scenarios: record.selected.len(),
        started_ms: since,
        duration_ms: record.duration_ms,
    });
    add_versions(&mut merged.versions, record.versions);
    for topology in record.topologies {
        if !merged.topologies.contains(&topology) {
            merged.topologies.push(topology);
        }
    }
    for mut phase in record.phases {
        phase.id = format!("{}/{}", record.environment, phase.id);
        phase.started_ms += since;
        merged.phases.push(phase);
    }
    for mut scenario in record.scenarios {
        scenario.environment.get_or_insert_with(|| record.environment.clone());
        moved(&mut scenario, &folder, since);
        merged.scenarios.push(scenario);
    }
    for mut failure in record.failures {
        failure.message = format!("shard {shard}, {}: {}", record.environment, failure.message);
        merged.failures.push(failure);
    }
    merged.warnings.extend(record.warnings.iter().map(|warning| format!("shard {shard}: {warning}")));
    for mut file in record.files {
        file.what = format!("{} of shard {shard}", file.what);
        merged.files.push(file);
    }
}

/// Later by the time that its run began later, and with what was saved of it where its run's folder is now.
fn moved(scenario: &mut ScenarioRecord, folder: &str, since: u64) {
    scenario.started_ms += since;
    scenario.steps.iter_mut().for_each(|step| step.started_ms += since);
    if let Some(artifacts) = &mut scenario.artifacts
        && let Some((_, name)) = artifacts.folder.rsplit_once("artifacts/")
    {
        artifacts.folder = format!("{folder}/artifacts/{name}");
    }
}

/// Where runs had different versions, all of them.
fn add_versions(merged: &mut BTreeMap<String, String>, versions: BTreeMap<String, String>) {
    for (name, version) in versions {
        let known = merged.entry(name).or_default();
        if known.split(", ").any(|one| one == version) {
            continue;
        }
        let divider = if known.is_empty() { "" } else { ", " };
        known.push_str(&format!("{divider}{version}"));
    }
}

#[cfg(test)]
mod tests;
