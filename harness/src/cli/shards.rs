//! `--shard K/N`: from the selected scenarios to those of one shard. Reads the recorded durations, and computes nothing of
//! its own: see [`crate::shard`].

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::files;
use crate::report::words::seconds;
use crate::scenario::Plan;
use crate::shard::divide::{self, Division, Piece, TooFew};
use crate::shard::durations::{self, Durations};
use crate::shard::{Shard, ShardFacts};

/// Which part of the selected scenarios.
#[derive(Clone, Debug, Default, Args)]
pub struct ShardArgs {
    /// Only part K of N that take about the same time, by recorded durations; each scenario is in exactly one. `meshproof
    /// report merge` makes one report of all
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// Durations that --shard divides by; by default scenarios/durations.json, which `meshproof report durations` writes
    #[arg(long, value_name = "FILE", requires = "shard")]
    pub durations: Option<Utf8PathBuf>,
}

/// What a shard cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file with durations cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than durations.
    #[error("{path} holds no recorded durations")]
    NoDurations {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is not a scenario for each shard.
    #[error(transparent)]
    TooFew(#[from] TooFew),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Unreadable { .. } | Self::NoDurations { .. } => {
                "name another file with --durations, or write it anew with `meshproof report durations --out FILE`"
                    .to_owned()
            }
            Self::TooFew(few) => format!("ask for no more shards than {}, or select more", few.pieces.max(1)),
        }
    }
}

/// The scenarios of one shard.
#[derive(Debug)]
pub struct Chosen {
    /// In the order of the selection.
    pub plans: Vec<Plan>,
    /// What a run tells of its shard.
    pub facts: ShardFacts,
    /// Milliseconds that each shard takes, by what was recorded.
    pub loads: Vec<u64>,
}

impl Chosen {
    /// `shard 2/3: 33 of 98 scenarios, about 3 min 4 s (of 3 min 1 s, 3 min 4 s, 2 min 58 s)`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Shard { number, .. } = self.facts.shard;
        let own = self.loads.get(number as usize - 1).copied().unwrap_or(0);
        let all: Vec<String> = self.loads.iter().map(|load| seconds(*load)).collect();
        format!(
            "shard {}: {} of {} scenarios, about {} (shards take {})",
            self.facts.shard,
            self.plans.len(),
            self.facts.selection.len(),
            seconds(own),
            all.join(", ")
        )
    }
}

/// The scenarios of the shard that was asked for; `None` where none was.
///
/// # Errors
/// [`Error`].
pub fn choose(plans: &[Plan], args: &ShardArgs, root: Option<&Utf8Path>) -> Result<Option<Chosen>, Error> {
    let Some(shard) = args.shard else { return Ok(None) };
    let durations = read(args.durations.as_deref(), root)?;
    Ok(Some(of(plans, shard, &durations)?))
}

/// The durations of a file, or of the one that is committed. Without any, all scenarios take the same time.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::NoDurations`].
pub fn read(given: Option<&Utf8Path>, root: Option<&Utf8Path>) -> Result<Durations, Error> {
    let path = match given {
        Some(path) => path.to_owned(),
        // Scenarios that are named can lie outside of every root.
        None => match files::root(root) {
            Ok(root) => root.join(durations::FILE),
            Err(_) => return Ok(Durations::default()),
        },
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if given.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(Durations::default()),
        Err(source) => return Err(Error::Unreadable { path, source }),
    };
    serde_json::from_str(&text).map_err(|source| Error::NoDurations { path, source })
}

fn of(plans: &[Plan], shard: Shard, durations: &Durations) -> Result<Chosen, TooFew> {
    let (pieces, piece_of) = pieces(plans, durations);
    let Division { shard_of, loads } =
        divide::divide(&pieces, |topology| durations.of_bring_up(topology), shard.of as usize)?;
    let wanted = shard.number as usize - 1;
    let own = plans.iter().zip(&piece_of).filter(|(_, piece)| shard_of[**piece] == wanted);
    let selection = plans.iter().map(|plan| plan.name.clone()).collect();
    Ok(Chosen { plans: own.map(|(plan, _)| plan.clone()).collect(), facts: ShardFacts { shard, selection }, loads })
}

/// The scenarios with all of their cases, and for each plan, the piece that it belongs to.
fn pieces(plans: &[Plan], durations: &Durations) -> (Vec<Piece>, Vec<usize>) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut piece_of = Vec::with_capacity(plans.len());
    for plan in plans {
        let scenario = plan.name.split('[').next().unwrap_or(&plan.name);
        let name = format!("{scenario} of {}", plan.file);
        let takes = durations.of_scenario(&plan.name);
        let known = pieces.iter().position(|piece| piece.name == name);
        let position = known.unwrap_or_else(|| {
            pieces.push(Piece { name, topology: plan.topology.name.clone(), takes: 0 });
            pieces.len() - 1
        });
        pieces[position].takes += takes;
        piece_of.push(position);
    }
    (pieces, piece_of)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::args::Selection;

    fn catalogue() -> Vec<Plan> {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned();
        files::select(&Selection { root: Some(root), ..Selection::default() }).expect("a catalogue").plans
    }

    fn shards(plans: &[Plan], of_all: u32) -> Vec<Chosen> {
        let durations = Durations::default();
        (1..=of_all).map(|number| of(plans, Shard { number, of: of_all }, &durations).expect("divided")).collect()
    }

    #[test]
    fn shards_of_the_catalogue_have_each_case_once_and_all_cases_of_a_scenario_together() {
        let plans = catalogue();
        for count in [1, 2, 3, 7] {
            let shards = shards(&plans, count);
            let mut names: Vec<&str> =
                shards.iter().flat_map(|shard| &shard.plans).map(|plan| plan.name.as_str()).collect();
            let mut all: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
            names.sort_unstable();
            all.sort_unstable();
            assert_eq!(names, all);
            let mut shard_of: BTreeMap<&str, usize> = BTreeMap::new();
            for (number, shard) in shards.iter().enumerate() {
                for plan in &shard.plans {
                    assert_eq!(*shard_of.entry(&plan.file).or_insert(number), number, "{} is divided", plan.name);
                }
            }
        }
    }

    #[test]
    fn without_durations_all_scenarios_are_alike_and_a_file_that_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        std::fs::create_dir(root.join("scenarios")).expect("created");
        assert_eq!(read(None, Some(root)).expect("no file is no error"), Durations::default());
        let named = root.join("mine.json");
        let error = read(Some(&named), Some(root)).expect_err("it is not there");
        assert_eq!(error.to_string(), format!("cannot read {named}"));
        std::fs::write(&named, "{}").expect("written");
        let error = read(Some(&named), Some(root)).expect_err("it is something else");
        assert!(error.to_string().contains("holds no recorded durations") && error.cure().contains("report durations"));
    }

    #[test]
    fn more_shards_than_scenarios_are_refused_with_the_number_that_works() {
        let plans: Vec<Plan> = catalogue().into_iter().filter(|plan| plan.name == "bookinfo-75-15-10").collect();
        let error =
            Error::from(of(&plans, Shard { number: 1, of: 2 }, &Durations::default()).expect_err("one is too few"));
        assert_eq!(error.to_string(), "there are fewer selected scenarios (1) than shards (2)");
        assert_eq!(error.cure(), "ask for no more shards than 1, or select more");
    }

    #[test]
    fn what_is_committed_is_of_scenarios_and_topologies_that_there_are() {
        let plans = catalogue();
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        let durations = read(None, Some(root)).expect("readable");
        let gone: Vec<&String> =
            durations.scenario_ms.keys().filter(|name| !plans.iter().any(|plan| plan.name == **name)).collect();
        assert!(gone.is_empty(), "remove them from {}: {gone:?}", durations::FILE);
        let gone: Vec<&String> = durations
            .bring_up_ms
            .keys()
            .filter(|name| !plans.iter().any(|plan| plan.topology.name == **name))
            .collect();
        assert!(gone.is_empty(), "remove them from {}: {gone:?}", durations::FILE);
        let known = plans.iter().filter(|plan| durations.scenario_ms.contains_key(&plan.name)).count();
        assert!(known * 2 > plans.len(), "the durations of most scenarios are recorded: {known} of {}", plans.len());
    }
}
