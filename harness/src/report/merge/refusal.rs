//! What speaks against merging runs.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use crate::report::event::StepOutcome;
use crate::report::outcome::RunOutcome;
use crate::report::record::Record;
use crate::shard::{Shard, ShardFacts};

/// Names in a message; more are counted.
const NAMES: usize = 5;
/// Name of this program among versions.
const PROGRAM: &str = "meshproof";

/// Something that speaks against merging runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was given.
    #[error("there is no run to merge")]
    Nothing,
    /// Not everything that was recorded is there.
    #[error("{folder} is damaged: {why}")]
    Damaged {
        /// Folder of the run.
        folder: String,
        /// What is wrong.
        why: String,
    },
    /// The run was killed, or goes on.
    #[error("{folder}: its run has no end, so it has no verdict")]
    Unfinished {
        /// Folder of the run.
        folder: String,
    },
    /// Another version may count and judge differently.
    #[error("{folder} was recorded by meshproof {version}, and this is {}", env!("CARGO_PKG_VERSION"))]
    Version {
        /// Folder of the run.
        folder: String,
        /// The version that recorded it.
        version: String,
    },
    /// The run had all that was selected.
    #[error("{folder}: its run was no shard")]
    NoShard {
        /// Folder of the run.
        folder: String,
    },
    /// Two runs are not of the same whole.
    #[error("{folder} and {other} are not shards of the same selection")]
    Strangers {
        /// Folder of the first run.
        folder: String,
        /// Folder of the second.
        other: String,
    },
    /// No run is of this shard.
    #[error("shard {shard} is missing")]
    Missing {
        /// Which.
        shard: Shard,
    },
    /// Two runs are of this shard and have the same scenario.
    #[error("shard {shard} is there twice: {scenario} is in {folder} and in {other}")]
    Twice {
        /// Which.
        shard: Shard,
        /// The scenario.
        scenario: String,
        /// Folder of the first run.
        folder: String,
        /// Folder of the second.
        other: String,
    },
    /// No run has these scenarios.
    #[error("no run has {}", named(scenarios))]
    Incomplete {
        /// Their names.
        scenarios: Vec<String>,
    },
}

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Nothing => "name the folders that shards wrote with --out",
            Self::Damaged { .. } => "get the folder again as its run wrote it, or run that shard again",
            Self::Unfinished { .. } => "wait until it has ended, or run that shard again",
            Self::Version { .. } => "run and merge all shards with the same program",
            Self::NoShard { .. } => "run scenarios with `--shard K/N`; the report of a single run needs no merging",
            Self::Strangers { .. } => "run all shards with the same files, filter and number of shards",
            Self::Missing { .. } | Self::Incomplete { .. } => {
                "name its folder, too; where it wrote none, run that shard again"
            }
            Self::Twice { .. } => "leave one of the two folders out",
        }
    }
}

fn named(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Everything that speaks against merging.
pub(super) fn refuse(sources: &[Source]) -> Result<(), Vec<Refusal>> {
    if sources.is_empty() {
        return Err(vec![Refusal::Nothing]);
    }
    let alone: Vec<Refusal> = sources.iter().filter_map(of_one).collect();
    or_fine(alone)?;
    or_fine(strangers(sources))?;
    or_fine(of_all(sources))
}

fn or_fine(refusals: Vec<Refusal>) -> Result<(), Vec<Refusal>> {
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// What speaks against a run by itself.
fn of_one(source: &Source) -> Option<Refusal> {
    let folder = source.folder.clone();
    let record = &source.record;
    if source.unreadable > 0 {
        let why = format!("lines of its events that cannot be read: {}", source.unreadable);
        return Some(Refusal::Damaged { folder, why });
    }
    // A file whose first lines are gone says nothing of what recorded it, and is no older version.
    let Ok(_begun) = record.started.parse::<jiff::Timestamp>() else {
        return Some(Refusal::Damaged { folder, why: "it does not say when it began".to_owned() });
    };
    let version = record.versions.get(PROGRAM).map_or("of an older version", String::as_str);
    if version != env!("CARGO_PKG_VERSION") {
        return Some(Refusal::Version { folder, version: version.to_owned() });
    }
    let Some(outcome) = record.outcome else { return Some(Refusal::Unfinished { folder }) };
    let Some(facts) = &record.shard else { return Some(Refusal::NoShard { folder }) };
    lost(record, facts, outcome).map(|why| Refusal::Damaged { folder, why })
}

/// What is recorded and does not fit together, because events in between are gone.
fn lost(record: &Record, facts: &ShardFacts, outcome: RunOutcome) -> Option<String> {
    let Shard { number, of } = facts.shard;
    if number == 0 || number > of {
        return Some(format!("there is no shard {}", facts.shard));
    }
    if record.selected.is_empty() {
        return Some("it does not say which scenarios were to be run".to_owned());
    }
    if let Some(name) = record.selected.iter().find(|name| !facts.selection.contains(name)) {
        return Some(format!("{name} is not in the selection that it is a shard of"));
    }
    let proved = |name: &&String| {
        let mut ends = record.scenarios.iter().filter(|scenario| scenario.catalogue_name() == **name).peekable();
        ends.peek().is_some()
            && ends.all(|scenario| matches!(scenario.outcome, Some(StepOutcome::Passed | StepOutcome::Skipped { .. })))
    };
    let unproved = record.selected.iter().find(|name| !proved(name));
    let unproved = unproved.filter(|_| outcome == RunOutcome::Passed)?;
    Some(format!("it says that everything passed, and not how {unproved} ended"))
}

/// Runs of other selections than the first.
fn strangers(sources: &[Source]) -> Vec<Refusal> {
    let whole = |source: &Source| source.record.shard.clone().map(|facts| (facts.shard.of, facts.selection));
    let first = &sources[0];
    let others = sources.iter().filter(|source| whole(source) != whole(first));
    others.map(|other| Refusal::Strangers { folder: first.folder.clone(), other: other.folder.clone() }).collect()
}

/// Shards and scenarios that are missing or there twice.
fn of_all(sources: &[Source]) -> Vec<Refusal> {
    let shards: Vec<(Shard, &Source)> =
        sources.iter().filter_map(|source| Some((source.record.shard.as_ref()?.shard, source))).collect();
    let present: BTreeSet<u32> = shards.iter().map(|(shard, _)| shard.number).collect();
    let of = shards.first().map_or(0, |(shard, _)| shard.of);
    let missing = (1..=of).filter(|number| !present.contains(number));
    let mut refusals: Vec<Refusal> = missing.map(|number| Refusal::Missing { shard: Shard { number, of } }).collect();
    let mut place_of: BTreeMap<&str, &Source> = BTreeMap::new();
    for (shard, source) in &shards {
        let twice = source.record.selected.iter().find_map(|name| Some((name, *place_of.get(name.as_str())?)));
        if let Some((scenario, other)) = twice {
            let (folder, other) = (other.folder.clone(), source.folder.clone());
            refusals.push(Refusal::Twice { shard: *shard, scenario: scenario.clone(), folder, other });
        }
        place_of.extend(source.record.selected.iter().map(|name| (name.as_str(), *source)));
    }
    let selection = shards.first().and_then(|(_, source)| source.record.shard.as_ref()).map(|facts| &facts.selection);
    let left: Vec<String> =
        selection.into_iter().flatten().filter(|name| !place_of.contains_key(name.as_str())).cloned().collect();
    // Those of a shard that is missing are missing with it.
    if !left.is_empty() && refusals.is_empty() {
        refusals.push(Refusal::Incomplete { scenarios: left });
    }
    refusals
}
