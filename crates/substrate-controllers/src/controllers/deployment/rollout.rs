//! The arithmetic of a rollout: how many replicas each ReplicaSet is to have next. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::Sets;

/// `spec.replicas` of a set.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// `spec.replicas` of the Deployment.
pub(super) fn wanted(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1)
}

pub(super) fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// `maxSurge` and `maxUnavailable` as counts; both zero would stand still, so then one may be missing.
pub(super) fn fences(spec: &DeploymentSpec) -> (i32, i32) {
    let wanted = wanted(spec);
    if is_recreate(spec) {
        return (0, wanted);
    }
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
    let unavailable = resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false).min(wanted);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A count or a percentage of `total`; 25 % if absent or malformed, as the API server defaults it.
fn resolve(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(count)) => return (*count).max(0),
        Some(IntOrString::String(text)) => text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(25),
        None => 25,
    };
    let product = i64::from(total.max(0)) * i64::from(i32::max(percent, 0));
    let share = if round_up { (product + 99) / 100 } else { product / 100 };
    i32::try_from(share).unwrap_or(i32::MAX)
}

/// The most replicas that may exist during a rollout.
pub(super) fn largest_total(spec: &DeploymentSpec) -> i32 {
    wanted(spec).saturating_add(fences(spec).0)
}

fn total(sets: &Sets<'_>) -> i32 {
    sets.all().map(replicas).sum()
}

/// The size with which the set of a new template begins.
pub(super) fn replicas_of_created_set(spec: &DeploymentSpec, sets: &Sets<'_>) -> i32 {
    if is_recreate(spec) {
        return wanted(spec);
    }
    (largest_total(spec) - total(sets)).clamp(0, wanted(spec))
}

/// The next sizes by name during a rollout.
pub(super) fn targets(spec: &DeploymentSpec, sets: &Sets<'_>) -> BTreeMap<String, i32> {
    let mut targets: BTreeMap<String, i32> = sets.all().map(|set| (set.name_any(), replicas(set))).collect();
    if is_recreate(spec) {
        targets.values_mut().for_each(|target| *target = 0);
        if let Some(new) = sets.new {
            targets.insert(new.name_any(), wanted(spec));
        }
        return targets;
    }
    let Some(new) = sets.new else { return targets };
    let size = replicas(new);
    let grown = if size > wanted(spec) {
        wanted(spec)
    } else {
        size + (largest_total(spec) - total(sets)).clamp(0, wanted(spec) - size)
    };
    targets.insert(new.name_any(), grown);
    if grown == size {
        shrink_old(spec, sets, new, &mut targets);
    }
    targets
}

/// Takes replicas from old sets: those that are not available anyway first, then as many as may be missing.
fn shrink_old(spec: &DeploymentSpec, sets: &Sets<'_>, new: &ReplicaSet, targets: &mut BTreeMap<String, i32>) {
    let least_available = wanted(spec) - fences(spec).1;
    let new_unavailable = replicas(new) - available(new);
    let mut allowance = total(sets) - least_available - new_unavailable;
    for set in &sets.old {
        let broken = (replicas(set) - available(set)).clamp(0, allowance.max(0));
        *targets.entry(set.name_any()).or_default() -= broken;
        allowance -= broken;
    }
    let mut spare = sets.all().map(available).sum::<i32>() - least_available;
    for set in &sets.old {
        let target = targets.entry(set.name_any()).or_default();
        let taken = (*target).clamp(0, spare.max(0));
        *target -= taken;
        spare -= taken;
    }
}

/// The next sizes after `spec.replicas` itself was changed: in the middle of a rollout every set keeps its share.
pub(super) fn scaled(spec: &DeploymentSpec, sets: &Sets<'_>) -> BTreeMap<String, i32> {
    let mut targets: BTreeMap<String, i32> = sets.all().map(|set| (set.name_any(), replicas(set))).collect();
    let active: Vec<_> = sets.all().filter(|set| replicas(set) > 0).collect();
    match active.as_slice() {
        [] => {
            if let Some(new) = sets.new {
                targets.insert(new.name_any(), wanted(spec));
            }
        }
        [only] => drop(targets.insert(only.name_any(), wanted(spec))),
        _ if wanted(spec) == 0 => targets.values_mut().for_each(|target| *target = 0),
        several => proportional(spec, several, &mut targets),
    }
    targets
}

fn proportional(spec: &DeploymentSpec, active: &[&ReplicaSet], targets: &mut BTreeMap<String, i32>) {
    let current: i32 = active.iter().map(|set| replicas(set)).sum();
    let allowed = if is_recreate(spec) { wanted(spec) } else { largest_total(spec) };
    let mut ordered = active.to_vec();
    ordered.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
    let mut left = allowed - current;
    for set in &ordered {
        let share = i64::from(replicas(set)) * i64::from(allowed - current);
        let rounded = (share + share.signum() * i64::from(current) / 2) / i64::from(current.max(1));
        let rounded = i32::try_from(rounded).unwrap_or(0);
        let change = if left >= 0 { rounded.clamp(0, left) } else { rounded.clamp(left, 0) };
        left -= change;
        targets.insert(set.name_any(), (replicas(set) + change).max(0));
    }
    if let Some(largest) = ordered.first() {
        let target = targets.entry(largest.name_any()).or_default();
        *target = (*target + left).max(0);
    }
}

/// Whether every replica is of the new template and available, and nothing of the old ones is left.
pub(super) fn is_complete(spec: &DeploymentSpec, sets: &Sets<'_>) -> bool {
    let status = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let wanted = wanted(spec);
    sets.new.is_some_and(|new| status(new) == wanted && available(new) == wanted)
        && sets.old.iter().all(|set| status(set) == 0 && replicas(set) == 0)
}
