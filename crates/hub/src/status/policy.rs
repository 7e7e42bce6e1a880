//! Statuses of policies, gathered from their targets.

use std::collections::BTreeMap;

use mesh_types::hub::status::{Approval, PolicyStatus, State};
use mesh_types::hub::{ClusterObjectRef, Object, ObjectRef, Resource};

use super::{conditions, state_of};
use crate::state::{self, Unit};
use crate::world::Checked;

/// Most targets that a status lists. An object of Kubernetes holds about a megabyte; what became of a policy on a target is also
/// in the status of the target.
const MOST_TARGETS: usize = 1_000;

pub(super) fn traffic(state: &state::State, reference: &ObjectRef) -> Option<PolicyStatus> {
    let checked = state.world().inputs.traffic_policies.get(reference)?;
    let approval = |service: &ClusterObjectRef| {
        let acceptance = state.world().acceptances.get(service)?;
        let applied = acceptance.applied.iter().find(|applied| applied.reference == *reference)?;
        let failures: Vec<_> = state.failures(&Unit::Destination(service.clone())).collect();
        let errors = acceptance.errors.get(reference).cloned().unwrap_or_default();
        Some(Approval {
            acceptance_order: applied.acceptance_order,
            state: state_of(&errors, &failures),
            errors: if errors.is_empty() { failures } else { errors },
            warnings: acceptance.warnings.get(reference).cloned().unwrap_or_default(),
        })
    };
    let targets = state.traffic_targets().targets(reference);
    Some(gathered(checked, targets.filter_map(|service| Some((service, approval(service)?)))))
}

pub(super) fn access(state: &state::State, reference: &ObjectRef) -> Option<PolicyStatus> {
    let checked = state.world().inputs.access_policies.get(reference)?;
    let approval = |service: &ClusterObjectRef| {
        let errors = state.world().access.get(service)?.get(reference)?.clone();
        let failures: Vec<_> = state.failures(&Unit::Destination(service.clone())).collect();
        let status = state_of(&errors, &failures);
        // Access policies add up, so their order means nothing.
        Some(Approval {
            acceptance_order: 0,
            state: status,
            errors: if errors.is_empty() { failures } else { errors },
            warnings: Vec::new(),
        })
    };
    let targets = state.access_targets().targets(reference);
    Some(gathered(checked, targets.filter_map(|service| Some((service, approval(service)?)))))
}

fn gathered<'a, R: Resource>(
    checked: &Checked<R>,
    approvals: impl Iterator<Item = (&'a ClusterObjectRef, Approval)>,
) -> PolicyStatus {
    let mut all: Vec<_> = approvals.map(|(service, approval)| (service.to_string(), approval)).collect();
    let targets = all.len();
    // The worst first, and among equals by name.
    all.sort_by(|(left, one), (right, other)| (other.state, left).cmp(&(one.state, right)));
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
    status.conditions = conditions(status.observed_generation, status.state, &message);
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
