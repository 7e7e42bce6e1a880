//! Does the layers of an environment that are to be done, leaves the others, and remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::record::Record;
use super::{Decision, Key, Layer, Part, Planned, obsolete, plan};
use crate::cluster::ledger::Entry;
use crate::environment::Error;

/// The layers of an environment that is brought up.
pub(crate) struct Progress {
    planned: BTreeMap<Key, Planned>,
    remembered: Option<Remembered>,
}

struct Remembered {
    record: Record,
    decisions: BTreeMap<Key, Decision>,
    /// Whether some of it was done before, so that a reason is of interest.
    again: bool,
    /// What is wanted and still being deleted.
    ending: BTreeSet<Entry>,
}

impl Progress {
    /// Of an environment that ends with whoever brings it up: nothing is remembered, and everything is done.
    #[must_use]
    pub(crate) fn unrecorded(parts: BTreeMap<Key, Part>) -> Self {
        Self { planned: plan(parts, false), remembered: None }
    }

    /// Of one that stays. `made_before` says that an earlier run made something, whether or not it is recorded.
    #[must_use]
    pub(crate) fn recorded(
        planned: BTreeMap<Key, Planned>,
        record: Record,
        decisions: BTreeMap<Key, Decision>,
        made_before: bool,
    ) -> Self {
        let again = made_before || !record.layers().is_empty();
        Self { planned, remembered: Some(Remembered { record, decisions, again, ending: BTreeSet::new() }) }
    }

    /// The same, to be done after these are gone: what is applied to an object that is being deleted goes with it.
    #[must_use]
    pub(crate) fn after(mut self, ending: BTreeSet<Entry>) -> Self {
        if let Some(remembered) = &mut self.remembered {
            remembered.ending = ending;
        }
        self
    }

    /// What is wanted on a cluster and still being deleted.
    pub(crate) fn ending<'all>(&'all self, cluster: &'all str) -> impl Iterator<Item = &'all Entry> {
        let all = self.remembered.iter().flat_map(|remembered| &remembered.ending);
        all.filter(move |entry| entry.cluster == cluster)
    }

    /// What an earlier run made and nobody wants any more.
    #[must_use]
    pub(crate) fn obsolete(&self) -> BTreeSet<Entry> {
        self.remembered.as_ref().map(|one| obsolete(&self.planned, &one.record.layers())).unwrap_or_default()
    }

    /// That is about to be removed: the layers that had it are no longer what was recorded, whatever comes of it.
    ///
    /// # Errors
    /// Where it cannot be remembered; then it must not be removed.
    pub(crate) fn obsolete_goes(&self) -> Result<(), Error> {
        let Some(remembered) = &self.remembered else { return Ok(()) };
        Ok(remembered.record.is_changed(&self.obsolete())?)
    }

    /// That is gone.
    ///
    /// # Errors
    /// Where it cannot be remembered.
    pub(crate) fn forget_obsolete(&self) -> Result<(), Error> {
        let Some(remembered) = &self.remembered else { return Ok(()) };
        Ok(remembered.record.forget_all_but(&self.planned)?)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        let Some(remembered) = &self.remembered else { return false };
        remembered.decisions.values().all(|decision| *decision == Decision::Keep) && self.obsolete().is_empty()
    }

    /// Whether an earlier run did some of it.
    #[must_use]
    pub(crate) fn goes_on(&self) -> bool {
        self.remembered.as_ref().is_some_and(|remembered| remembered.again)
    }

    /// What is kept and what is done of a cluster, as lines for people; nothing where all of it is new.
    #[must_use]
    pub(crate) fn text(&self, cluster: &str) -> String {
        let Some(remembered) = self.remembered.as_ref().filter(|remembered| remembered.again) else {
            return String::new();
        };
        let of_cluster = remembered.decisions.iter().filter(|((_, place), _)| place == cluster);
        let kept = of_cluster.clone().filter(|(_, decision)| **decision == Decision::Keep);
        let kept: Vec<&str> = kept.map(|((layer, _), _)| layer.word()).collect();
        let mut text = String::new();
        if !kept.is_empty() {
            let _ = writeln!(text, "  keeps {}", kept.join(", "));
        }
        for ((layer, _), decision) in of_cluster {
            if let Decision::Do(why) = decision {
                let _ = writeln!(text, "  does {}: {why}", layer.word());
            }
        }
        for entry in self.obsolete().iter().filter(|entry| entry.cluster == cluster) {
            let _ = writeln!(text, "  removes {}", entry.named());
        }
        text
    }

    /// What a layer of a cluster applies.
    #[must_use]
    pub(crate) fn objects(&self, layer: Layer, cluster: &str) -> &[Value] {
        self.planned.get(&(layer, cluster.to_owned())).map_or(&[], |planned| &planned.objects)
    }

    /// Whether a layer stays as it is.
    #[must_use]
    pub(crate) fn keeps(&self, layer: Layer, cluster: &str) -> bool {
        let decision = self.remembered.as_ref().and_then(|one| one.decisions.get(&(layer, cluster.to_owned())));
        decision == Some(&Decision::Keep)
    }

    /// Does a layer by `work`, which says what came of it, unless it is kept. Returns what is told of it.
    ///
    /// # Errors
    /// Those of `work`, and where it cannot be remembered.
    pub(crate) async fn perform(
        &self,
        layer: Layer,
        cluster: &str,
        work: impl Future<Output = Result<String, Error>>,
    ) -> Result<String, Error> {
        let key = (layer, cluster.to_owned());
        let (Some(remembered), Some(planned)) = (&self.remembered, self.planned.get(&key)) else { return work.await };
        if self.keeps(layer, cluster) {
            return Ok("kept".to_owned());
        }
        remembered.record.begin(&key, planned)?;
        let evidence = work.await?;
        remembered.record.finish(&key, planned)?;
        Ok(match remembered.decisions.get(&key) {
            Some(Decision::Do(why)) if remembered.again => format!("done, as {why}: {evidence}"),
            _ => evidence,
        })
    }
}
