//! Small pure helpers over Kubernetes objects: keys, controller references, label selectors, times, patches.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference, Time};
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value};

/// Namespace and name of an object; the namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self::of_meta(object.meta())
    }

    pub(crate) fn of_meta(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }

    /// A key of the same namespace.
    pub(crate) fn sibling(&self, name: impl Into<String>) -> Self {
        Self::new(self.namespace.clone(), name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// The owner reference with `controller: true`, if there is one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether `object` is controlled by the object with this uid.
pub(crate) fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object.meta()).is_some_and(|owner| owner.uid == uid)
}

/// The owner reference that makes `owner` the controller of what carries it.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether deletion of the object has begun.
pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether a selector of a workload matches; an absent, empty or malformed selector matches nothing,
/// because a workload that selects everything would adopt everything.
pub(crate) fn selector_matches(selector: Option<&LabelSelector>, labels: Option<&BTreeMap<String, String>>) -> bool {
    selector.and_then(compile).is_some_and(|selector| selector.matches(labels.unwrap_or(&BTreeMap::new())))
}

/// The selector of a workload, ready to be asked about many objects; `None` where it would match nothing anyway.
pub(crate) fn compile(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector.clone()).ok().filter(|selector| !selector.selects_all())
}

/// Whether every pair of a plain selector map is among the labels; an empty map matches nothing.
pub(crate) fn labels_contain(labels: Option<&BTreeMap<String, String>>, wanted: &BTreeMap<String, String>) -> bool {
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whole seconds only: a `Time` loses its fraction on the wire, and an object that was sent must equal what comes back.
pub(crate) fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The merge patch (RFC 7396) that turns `before` into `after`; `None` if nothing differs.
pub(crate) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            None => drop(patch.insert(key.clone(), value.clone())),
            Some(previous) => {
                if let Some(nested) = merge_patch(previous, value) {
                    patch.insert(key.clone(), nested);
                }
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The object as JSON.
pub(crate) fn json<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("invariant: Kubernetes types serialise to JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_names_only_what_changed_and_nulls_what_went() {
        let before = json!({"replicas": 2, "ready": 1, "conditions": [1], "nested": {"a": 1, "b": 2}});
        let after = json!({"replicas": 2, "conditions": [1, 2], "nested": {"a": 1, "b": 3}});
        let expected = json!({"ready": null, "conditions": [1, 2], "nested": {"b": 3}});
        assert_eq!(merge_patch(&before, &after), Some(expected));
        assert_eq!(merge_patch(&after, &after), None);
    }

    #[test]
    fn an_empty_selector_matches_nothing() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        assert!(!selector_matches(Some(&LabelSelector::default()), Some(&labels)));
        assert!(!labels_contain(Some(&labels), &BTreeMap::new()));
        assert!(labels_contain(Some(&labels), &labels));
    }
}
