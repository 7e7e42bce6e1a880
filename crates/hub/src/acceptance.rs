//! In which order policies hold on a target.
//!
//! Where two policies of a target conflict, the one that was accepted first holds. The order is remembered (in the status of
//! the target), so that neither a restart nor a second policy that sorts before it by name changes what holds:
//!
//! 1. policies that were accepted as they are now, in their order,
//! 2. policies that were accepted and have changed since,
//! 3. policies that were refused, in their order,
//! 4. new ones, the oldest first.

use mesh_types::hub::ObjectRef;
use mesh_types::hub::status::AppliedPolicy;

/// A policy that concerns a target.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub reference: &'a ObjectRef,
    /// Its generation.
    pub generation: i64,
    /// When it was created, RFC 3339.
    pub created: &'a str,
}

/// Sorts candidates into the order in which they hold, by what is remembered of the target.
pub fn arrange<'a>(remembered: &[AppliedPolicy], mut candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
    candidates.sort_by_cached_key(|candidate| {
        let position = remembered.iter().position(|applied| applied.reference == *candidate.reference);
        let class = match position.map(|position| &remembered[position]) {
            Some(applied) if applied.accepted && applied.observed_generation == candidate.generation => 0,
            Some(applied) if applied.accepted => 1,
            Some(_) => 2,
            None => 3,
        };
        (class, position, candidate.created.to_owned(), candidate.reference.clone())
    });
    candidates
}

/// What is to be remembered of a target: each policy in order, and whether it was accepted. Those that were come first.
pub fn remember<'a>(judged: impl IntoIterator<Item = (Candidate<'a>, bool)>) -> Vec<AppliedPolicy> {
    let mut applied: Vec<_> = judged
        .into_iter()
        .map(|(candidate, accepted)| AppliedPolicy {
            reference: candidate.reference.clone(),
            observed_generation: candidate.generation,
            acceptance_order: 0,
            accepted,
        })
        .collect();
    applied.sort_by_key(|policy| !policy.accepted);
    for (order, policy) in (1..).zip(&mut applied) {
        policy.acceptance_order = order;
    }
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> ObjectRef {
        ObjectRef::new(name, "hub")
    }

    fn order(remembered: &[(&str, i64, bool)], now: &[(&str, i64, &str)]) -> Vec<String> {
        let remembered: Vec<_> = remembered
            .iter()
            .map(|(name, observed_generation, accepted)| AppliedPolicy {
                reference: reference(name),
                observed_generation: *observed_generation,
                accepted: *accepted,
                acceptance_order: 0,
            })
            .collect();
        let names: Vec<_> = now.iter().map(|(name, ..)| reference(name)).collect();
        let candidates = now.iter().zip(&names).map(|((_, generation, created), reference)| Candidate {
            reference,
            generation: *generation,
            created,
        });
        arrange(&remembered, candidates.collect()).iter().map(|one| one.reference.name.clone()).collect()
    }

    #[test]
    fn what_was_accepted_keeps_its_place_whatever_it_is_called() {
        assert_eq!(order(&[("z", 1, true)], &[("a", 1, "2026"), ("z", 1, "2026")]), ["z", "a"]);
    }

    #[test]
    fn what_changed_stands_behind_what_did_not_and_before_what_was_refused() {
        let remembered = [("a", 1, true), ("b", 1, true), ("c", 1, false)];
        let now = [("a", 2, ""), ("b", 1, ""), ("c", 1, ""), ("d", 1, "")];
        assert_eq!(order(&remembered, &now), ["b", "a", "c", "d"]);
    }

    #[test]
    fn new_ones_stand_by_age() {
        assert_eq!(order(&[], &[("a", 1, "2026-02"), ("b", 1, "2026-01"), ("c", 1, "2026-01")]), ["b", "c", "a"]);
    }

    #[test]
    fn refused_ones_are_remembered_behind_the_others() {
        let names = [reference("a"), reference("b")];
        let candidate = |reference| Candidate { reference, generation: 3, created: "" };
        let applied = remember([(candidate(&names[0]), false), (candidate(&names[1]), true)]);
        let shown: Vec<_> =
            applied.iter().map(|one| (one.reference.name.as_str(), one.acceptance_order, one.accepted)).collect();
        assert_eq!(shown, [("b", 1, true), ("a", 2, false)]);
    }
}
