//! Statuses of policies, gathered from their targets.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::hub::status::{Approval, PolicyStatus, State};
use mesh_types::hub::{ClusterObjectRef, Object, ObjectRef, Resource};

use super::{Reached, conditions, severity, state_of};
use crate::progress::Progress;
use crate::state::{self, Unit};
use crate::world::{Checked, Target};

/// Most targets that a status lists. An object of Kubernetes holds about a megabyte; what became of a policy on a target is also
/// in the status of the target.
const MOST_TARGETS: usize = 1_000;

pub(super) fn traffic(state: &state::State, reference: &ObjectRef) -> Option<PolicyStatus> {
    let checked = state.world().inputs.traffic_policies.get(reference)?;
    let approval = |service: &ClusterObjectRef| {
        let acceptance = state.world().acceptances.get(service)?;
        let applied = acceptance.applied.iter().find(|applied| applied.reference == *reference)?;
        let errors = acceptance.errors.get(reference).cloned().unwrap_or_default();
        // Subsets that it needs of others are in their objects.
        let needed = acceptance.requires.keys().map(unit_of);
        let units: BTreeSet<_> = needed.chain([Unit::Destination(service.clone())]).collect();
        let own = Unit::Destination(service.clone());
        let rules = units.iter().filter(|unit| **unit != own).flat_map(|unit| state.rule_failures(unit));
        let failures: Vec<_> = state.failures(&own).chain(rules).collect();
        let reached = state.progress(&units).map(|(cluster, progress)| (cluster.to_owned(), progress.clone()));
        let approval = Approval {
            acceptance_order: applied.acceptance_order,
            state: state_of(&errors, &failures, borrowed(&reached)),
            errors: if errors.is_empty() { failures } else { errors },
            warnings: acceptance.warnings.get(reference).cloned().unwrap_or_default(),
        };
        Some((approval, reached))
    };
    let targets = state.traffic_targets().targets(reference);
    Some(gathered(checked, targets.filter_map(|service| Some((service, approval(service)?)))))
}

pub(super) fn access(state: &state::State, reference: &ObjectRef) -> Option<PolicyStatus> {
    let checked = state.world().inputs.access_policies.get(reference)?;
    let approval = |service: &ClusterObjectRef| {
        let errors = state.world().access.get(service)?.get(reference)?.clone();
        let failures: Vec<_> = state.failures(&Unit::Destination(service.clone())).collect();
        let unit = [Unit::Destination(service.clone())];
        let reached = state.progress(&unit).map(|(cluster, progress)| (cluster.to_owned(), progress.clone()));
        let status = state_of(&errors, &failures, borrowed(&reached));
        // Access policies add up, so their order means nothing.
        let approval = Approval {
            acceptance_order: 0,
            state: status,
            errors: if errors.is_empty() { failures } else { errors },
            warnings: Vec::new(),
        };
        Some((approval, reached))
    };
    let targets = state.access_targets().targets(reference);
    Some(gathered(checked, targets.filter_map(|service| Some((service, approval(service)?)))))
}

/// How far the objects for one target got.
type Owned = Option<(String, Progress)>;

fn borrowed(reached: &Owned) -> Reached<'_> {
    reached.as_ref().map(|(cluster, progress)| (cluster.as_str(), progress))
}

fn unit_of(target: &Target) -> Unit {
    match target {
        Target::Service(service) => Unit::Destination(service.clone()),
        Target::Virtual(reference) => Unit::VirtualDestination(reference.clone()),
    }
}

fn gathered<'a, R: Resource>(
    checked: &Checked<R>,
    approvals: impl Iterator<Item = (&'a ClusterObjectRef, (Approval, Owned))>,
) -> PolicyStatus {
    let mut reached: Owned = None;
    let mut all = Vec::new();
    for (service, (approval, here)) in approvals {
        if reached.as_ref().map(|(_, progress)| progress) < here.as_ref().map(|(_, progress)| progress) {
            reached = here;
        }
        all.push((service.to_string(), approval));
    }
    let targets = all.len();
    // The worst first, and among equals by name.
    all.sort_by(|(left, one), (right, other)| (severity(other.state), left).cmp(&(severity(one.state), right)));
    let worst = all.first().map_or(State::Accepted, |(_, approval)| approval.state);
    let mut status = of_object(&checked.object, worst, &checked.errors);
    // What is wrong with the policy itself says more than what that comes to on a target.
    let wrong = all.first().filter(|(_, approval)| checked.errors.is_empty() && !approval.errors.is_empty());
    if let Some((service, approval)) = wrong {
        status.errors.extend(approval.errors.iter().map(|error| format!("on {service}: {error}")));
    }
    if targets == 0 && status.errors.is_empty() {
        status.warnings.push("no destination is selected".to_owned());
    }
    if targets > MOST_TARGETS {
        status.warnings.push(format!("{MOST_TARGETS} of {targets} targets are listed"));
    }
    status.targets = u32::try_from(targets).unwrap_or(u32::MAX);
    status.destinations = all.into_iter().take(MOST_TARGETS).collect::<BTreeMap<_, _>>();
    let message = status.errors.first().cloned().unwrap_or_default();
    status.conditions = conditions(status.observed_generation, status.state, &message, borrowed(&reached));
    if targets == 0 {
        // Nothing is written, so nobody has anything to acknowledge.
        status.conditions.truncate(1);
    }
    status
}

fn of_object<R: Resource>(object: &Object<R>, worst: State, errors: &[String]) -> PolicyStatus {
    PolicyStatus {
        observed_generation: object.metadata.generation.unwrap_or_default(),
        state: if errors.is_empty() { worst } else { State::Invalid },
        errors: errors.to_vec(),
        ..PolicyStatus::default()
    }
}
