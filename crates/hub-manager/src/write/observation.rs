//! What is remembered of an object that stands in a cluster: as much as tells whether it is ours and as it shall be. Pure.

use mesh_types::hub::names::{FIELD_MANAGER, LABEL_CLUSTER, LABEL_OWNER};
use serde_json::{Map, Value};

/// An object as it stands in a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Its specification.
    pub spec: Value,
    /// Its labels.
    pub labels: Map<String, Value>,
    /// Its annotations.
    pub annotations: Map<String, Value>,
    /// Version that the API server gave to it.
    pub resource_version: String,
    /// Tells it from an earlier object of the same name.
    pub uid: String,
    /// Who else applies fields of it, which they mean to keep.
    pub appliers: Vec<String>,
    /// Whether somebody else wrote fields of its specification by other means than applying.
    pub edited: bool,
    /// Whether it is on its way out.
    pub deleting: bool,
}

impl Observation {
    /// Of an object as the API server tells it.
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let map = |field: &str| metadata[field].as_object().cloned().unwrap_or_default();
        let mut observation = Self {
            spec: object.get("spec").cloned().unwrap_or_default(),
            labels: map("labels"),
            annotations: map("annotations"),
            resource_version: text("resourceVersion"),
            uid: text("uid"),
            appliers: Vec::new(),
            edited: false,
            deleting: !metadata["deletionTimestamp"].is_null(),
        };
        for entry in metadata["managedFields"].as_array().into_iter().flatten() {
            let manager = entry["manager"].as_str().unwrap_or_default();
            let applies = entry["operation"] == "Apply";
            let of_status = entry["subresource"] == "status";
            if of_status || manager == FIELD_MANAGER {
                continue;
            }
            if applies {
                observation.appliers.push(manager.to_owned());
            } else {
                observation.edited |= !entry["fieldsV1"]["f:spec"].is_null();
            }
        }
        observation
    }

    /// Whether the plane of this identity wrote it.
    pub fn is_of(&self, owner: &str) -> bool {
        self.plane() == Some(owner)
    }

    /// The plane that wrote it, if one did.
    pub fn plane(&self) -> Option<&str> {
        self.labels.get(LABEL_OWNER).and_then(Value::as_str)
    }

    /// Which registered cluster it was discovered in.
    pub fn cluster(&self) -> &str {
        self.labels.get(LABEL_CLUSTER).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is as a manifest says. What an API server fills in by itself is no difference, what somebody edited into it
    /// is one.
    pub fn is_as(&self, manifest: &Value) -> bool {
        let nothing = Value::Null;
        let metadata = &manifest["metadata"];
        let covers_map = |wanted: &Value, there: &Map<String, Value>| {
            wanted.as_object().into_iter().flatten().all(|(key, value)| there.get(key) == Some(value))
        };
        let spec = manifest.get("spec").unwrap_or(&nothing);
        covers_map(&metadata["labels"], &self.labels)
            && covers_map(&metadata["annotations"], &self.annotations)
            && if self.edited { *spec == self.spec } else { covers(spec, &self.spec) }
    }

    /// Whether this is a later state than another, or cannot be told from one.
    pub fn is_not_before(&self, other: &Self) -> bool {
        match (self.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
            (Ok(own), Ok(other)) => own >= other,
            _ => true,
        }
    }
}

/// Whether everything that is wanted is there; maps may have more.
fn covers(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.iter().all(|(key, value)| there.get(key).is_some_and(|there| covers(value, there)))
        }
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.len() == there.len() && wanted.iter().zip(there).all(|(wanted, there)| covers(wanted, there))
        }
        (Value::Number(wanted), Value::Number(there)) => wanted.as_f64() == there.as_f64(),
        (Value::Null, _) => true,
        _ => wanted == there,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: Value, managed: Value) -> Observation {
        Observation::of(&json!({ "metadata": { "labels": { LABEL_OWNER: "hub" }, "resourceVersion": "7",
            "managedFields": managed }, "spec": spec }))
    }

    fn wanted(spec: Value) -> Value {
        json!({ "metadata": { "labels": { LABEL_OWNER: "hub" } }, "spec": spec })
    }

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let there = object(json!({ "hosts": ["a"], "resolution": "NONE", "weight": 1.0 }), json!([]));
        assert!(there.is_as(&wanted(json!({ "hosts": ["a"], "weight": 1 }))));
        assert!(!there.is_as(&wanted(json!({ "hosts": ["a", "b"] }))));
        assert!(!there.is_as(&wanted(json!({ "hosts": ["a"], "location": "MESH_INTERNAL" }))));
        assert!(!Observation::default().is_as(&wanted(json!({}))), "without the owner's label");
    }

    #[test]
    fn what_somebody_edited_into_it_is_a_difference() {
        let edit = json!([{ "manager": "kubectl-edit", "operation": "Update", "fieldsV1": { "f:spec": {} } }]);
        let there = object(json!({ "hosts": ["a"], "exportTo": ["."] }), edit);
        assert!(!there.is_as(&wanted(json!({ "hosts": ["a"] }))));
        let status = json!([{ "manager": "istiod", "operation": "Update", "subresource": "status", "fieldsV1": { "f:status": {} } }]);
        assert!(object(json!({ "hosts": ["a"], "exportTo": ["."] }), status).is_as(&wanted(json!({ "hosts": ["a"] }))));
    }

    #[test]
    fn others_that_apply_are_known_by_name() {
        let managed =
            json!([{ "manager": FIELD_MANAGER, "operation": "Apply" }, { "manager": "argocd", "operation": "Apply" }]);
        assert_eq!(object(json!({}), managed).appliers, ["argocd"]);
    }
}
