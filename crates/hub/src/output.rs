//! What the hub wants written: objects as they shall be, and the clusters they belong into.
//!
//! The same object often belongs into hundreds of clusters. It is rendered once, and shared with the set of clusters.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mesh_types::hub::names::{ANNOTATION_PARENTS, LABEL_OWNER};
use serde::Serialize;
use serde_json::{Value, json};

/// A kind of object that the hub writes into clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputKind {
    /// Istio's AuthorizationPolicy.
    AuthorizationPolicy,
    /// Istio's DestinationRule.
    DestinationRule,
    /// Istio's Gateway.
    Gateway,
    /// The agent's IssuedCertificate.
    IssuedCertificate,
    /// Istio's ServiceEntry.
    ServiceEntry,
    /// Istio's VirtualService.
    VirtualService,
    /// The agent's WorkloadRestart.
    WorkloadRestart,
}

impl OutputKind {
    /// All kinds; whoever collects garbage lists these.
    pub const ALL: [Self; 7] = [
        Self::AuthorizationPolicy,
        Self::DestinationRule,
        Self::Gateway,
        Self::IssuedCertificate,
        Self::ServiceEntry,
        Self::VirtualService,
        Self::WorkloadRestart,
    ];

    /// `DestinationRule`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::DestinationRule => "DestinationRule",
            Self::Gateway => "Gateway",
            Self::IssuedCertificate => "IssuedCertificate",
            Self::ServiceEntry => "ServiceEntry",
            Self::VirtualService => "VirtualService",
            Self::WorkloadRestart => "WorkloadRestart",
        }
    }

    /// `networking.istio.io/v1`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "security.istio.io/v1",
            Self::IssuedCertificate | Self::WorkloadRestart => "certificates.meshproof.dev/v1",
            Self::DestinationRule | Self::Gateway | Self::ServiceEntry | Self::VirtualService => {
                "networking.istio.io/v1"
            }
        }
    }
}

/// Name of an object in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: OutputKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// A key.
    pub fn new(kind: OutputKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// `Kind namespace/name`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// An object as it shall be.
#[derive(Debug, PartialEq, Eq)]
pub struct Desired {
    /// Its name.
    pub key: ObjectKey,
    /// The whole object as JSON, with the labels of its owner; fields that say nothing are left out.
    pub manifest: Box<str>,
}

/// An object and the clusters that it belongs into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The object.
    pub object: Arc<Desired>,
    /// Where it belongs.
    pub clusters: Clusters,
}

/// Renders objects on behalf of one owner.
#[derive(Clone, Copy, Debug)]
pub struct Renderer<'a> {
    /// Value of the label of the owner: the plane's identity.
    pub owner: &'a str,
}

impl Renderer<'_> {
    /// Renders an object that follows from `parents` (`Kind/namespace/name`).
    pub fn render<S: Serialize>(&self, key: ObjectKey, parents: &[String], spec: &S) -> Arc<Desired> {
        let spec = serde_json::to_value(spec).map(pruned);
        let spec = spec.expect("invariant: specifications have text keys and finite numbers");
        let mut metadata = json!({
            "name": key.name,
            "namespace": key.namespace,
            "labels": { LABEL_OWNER: self.owner },
        });
        if !parents.is_empty() {
            metadata["annotations"] = json!({ ANNOTATION_PARENTS: parents.join(",") });
        }
        let manifest = json!({
            "apiVersion": key.kind.api_version(),
            "kind": key.kind.name(),
            "metadata": metadata,
            "spec": spec,
        });
        Arc::new(Desired { key, manifest: manifest.to_string().into() })
    }
}

/// A value without fields that are null or an empty list, which say in Istio's types (proto3) and the hub's the same as no field.
/// Empty objects and texts stay, for they say something: `{}` matches any value of a header, `""` is the value of a label.
/// Elements of lists stay: an empty rule lets everybody in.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, inner)| !says_nothing(inner));
            Value::Object(fields.map(|(name, inner)| (name, pruned(inner))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// A set of clusters: a shared set, and the few of it that are left out.
#[derive(Clone)]
pub struct Clusters {
    all: Arc<BTreeSet<String>>,
    /// Sorted.
    except: Box<[String]>,
}

impl Clusters {
    /// One cluster.
    pub fn one(name: &str) -> Self {
        Self::of(Arc::new(BTreeSet::from([name.to_owned()])))
    }

    /// A set.
    pub fn of(all: Arc<BTreeSet<String>>) -> Self {
        Self { all, except: Box::default() }
    }

    /// This without some more.
    #[must_use]
    pub fn without<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut except: BTreeSet<String> = self.except.iter().cloned().collect();
        except.extend(names.into_iter().filter(|name| self.all.contains(*name)).map(str::to_owned));
        Self { all: Arc::clone(&self.all), except: except.into_iter().collect() }
    }

    /// Whether a cluster is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.all.contains(name) && !self.is_left_out(name)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.all.len() - self.except.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(String::as_str).filter(|name| !self.is_left_out(name))
    }

    /// The set that it shares with others; some are left out of it.
    pub(crate) fn shared(&self) -> &Arc<BTreeSet<String>> {
        &self.all
    }

    /// Those of the shared set that do not belong to it.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.except
    }

    /// Those of `self` that are not in `other`.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        // Sets that many share differ in a few names only.
        let shared = Arc::ptr_eq(&self.all, &other.all);
        let candidates: Box<dyn Iterator<Item = &str>> =
            if shared { Box::new(other.except.iter().map(String::as_str)) } else { Box::new(self.iter()) };
        candidates.filter(move |name| self.contains(name) && !other.contains(name))
    }

    fn is_left_out(&self, name: &str) -> bool {
        self.except.binary_search_by(|one| one.as_str().cmp(name)).is_ok()
    }
}

impl PartialEq for Clusters {
    fn eq(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.all, &other.all) && self.except == other.except) || self.iter().eq(other.iter())
    }
}

impl Eq for Clusters {}

impl fmt::Debug for Clusters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<String> for Clusters {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self::of(Arc::new(names.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Clusters {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn sets_are_equal_by_their_members() {
        let all = set(&["a", "b", "c"]);
        assert_eq!(all.without(["b"]), set(&["a", "c"]));
        assert_ne!(all.without(["b"]), all);
        assert_eq!(all.without(["x"]).len(), 3);
        assert_eq!(all.without(["a", "b", "c"]).len(), 0);
        assert!(!all.without(["b"]).contains("b"));
    }

    #[test]
    fn differences_are_the_same_with_and_without_sharing() {
        let all = set(&["a", "b", "c"]);
        let (left, right) = (all.without(["a"]), all.without(["b"]));
        assert_eq!(left.difference(&right).collect::<Vec<_>>(), ["b"]);
        assert_eq!(left.difference(&set(&["a", "c"])).collect::<Vec<_>>(), ["b"]);
        assert_eq!(left.difference(&left).count(), 0);
    }

    #[test]
    fn null_and_empty_lists_are_left_out_and_nothing_else() {
        let value = json!({ "a": null, "b": [], "rules": [{}, []], "f": false, "g": 0 });
        assert_eq!(pruned(value), json!({ "rules": [{}, []], "f": false, "g": 0 }));
        let matches =
            json!({ "headers": { "x-any": {}, "x-one": { "exact": "", "regex": null } }, "labels": { "a": "" } });
        let kept = json!({ "headers": { "x-any": {}, "x-one": { "exact": "" } }, "labels": { "a": "" } });
        assert_eq!(pruned(matches), kept);
    }
}
