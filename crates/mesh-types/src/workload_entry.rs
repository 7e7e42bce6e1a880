//! WorkloadEntry and WorkloadGroup: workloads that no pod stands for, such as virtual machines.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::names;
use crate::object::{Object, Resource};
use crate::probe::Probe;

/// Specification of a WorkloadEntry, and an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadEntry {
    /// Address, or a name that proxies resolve.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Ports by the name of the service's port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u32>,
    /// Labels, by which services and subsets choose it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Network that it is in, where it is another than its cluster's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Where it runs, `region/zone/subzone`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub locality: String,
    /// Share relative to other endpoints, 1 where none is given.
    #[serde(default, skip_serializing_if = "crate::object::is_default")]
    pub weight: u32,
    /// Service account that its identity is made of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account: String,
}

impl WorkloadEntry {
    /// Whether it takes mutual TLS: as its label says, and without one where it has an identity.
    pub fn mutual_tls(&self) -> bool {
        match self.labels.get(names::LABEL_TLS_MODE) {
            Some(mode) => mode == names::TLS_MODE_ISTIO,
            None => !self.service_account.is_empty(),
        }
    }
}

impl Object<WorkloadEntry> {
    /// Whether its workload may be called. One whose health is checked is healthy only once it has said so.
    pub fn healthy(&self) -> bool {
        let checked = self.metadata.annotations.get(names::ANNOTATION_HEALTH_CHECKED);
        checked.is_none_or(|value| value != "true")
            || self
                .status
                .conditions
                .iter()
                .any(|condition| condition.kind == names::CONDITION_HEALTHY && condition.status == "True")
    }
}

/// Specification of a WorkloadGroup: what the WorkloadEntries of a group have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadGroup {
    /// Labels and annotations that each gets.
    pub metadata: Option<GroupMetadata>,
    /// What each starts from; the address is its own.
    pub template: WorkloadEntry,
    /// How each finds out whether its application is healthy; without one nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// Labels and annotations of the members of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupMetadata {
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Resource for WorkloadEntry {
    const KIND: Kind = Kind::WorkloadEntry;
}

impl Resource for WorkloadGroup {
    const KIND: Kind = Kind::WorkloadGroup;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn healthy(annotations: &Value, conditions: &Value) -> bool {
        let object = json!({"metadata": {"name": "vm", "annotations": annotations}, "spec": {}, "status": {"conditions": conditions}});
        Object::<WorkloadEntry>::from_value(object).unwrap().healthy()
    }

    #[test]
    fn only_a_checked_workload_has_to_say_that_it_is_healthy() {
        let checked = json!({"proxy.istio.io/health-checks-enabled": "true"});
        let yes =
            json!([{"type": "Reconciled", "status": "False"}, {"type": "Healthy", "status": "True", "message": ""}]);
        assert!(healthy(&json!({}), &json!([])));
        assert!(healthy(&json!({}), &json!([{"type": "Healthy", "status": "False"}])));
        assert!(!healthy(&checked, &json!([])));
        assert!(!healthy(&checked, &json!([{"type": "Healthy", "status": "False"}])));
        assert!(!healthy(&checked, &json!([{"type": "Reconciled", "status": "True"}])));
        assert!(healthy(&checked, &yes));
    }
}
