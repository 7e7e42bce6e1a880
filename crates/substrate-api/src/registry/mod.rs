//! Which resources this API server serves: the builtin table and those that stored CustomResourceDefinitions declare.
//! Holds descriptions only; behaviour of kinds is in `kinds`, storage in `store`.

mod builtin;
pub(crate) mod custom;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kinds::Behaviour;
use crate::status::Subject;
use custom::CustomResource;

/// The verbs of an ordinary resource, in the order discovery lists them.
pub(crate) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a status or scale subresource.
pub(crate) const PART_VERBS: &[&str] = &["get", "patch", "update"];

/// A subresource such as `status` or `exec`.
#[derive(Debug, Clone)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    /// API version and kind of its body; those of the resource for `status`.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) verbs: &'static [&'static str],
}

/// Where the `scale` subresource finds its figures, as dotted paths.
#[derive(Debug, Clone)]
pub(crate) struct ScalePaths {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// One resource in one served version.
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) verbs: &'static [&'static str],
    pub(crate) subresources: Vec<Subresource>,
    pub(crate) scale: Option<ScalePaths>,
    /// Name of the store's table.
    pub(crate) table: String,
    /// The `apiVersion` that objects are stored with.
    pub(crate) storage_version: String,
    pub(crate) behaviour: &'static Behaviour,
    /// Present for resources of a CustomResourceDefinition.
    pub(crate) custom: Option<Arc<CustomResource>>,
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { group: &self.group, resource: &self.plural, kind: &self.kind }
    }

    #[cfg(test)]
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|sub| sub.name == subresource)
    }

    /// `apps/v1, Kind=Deployment`.
    pub(crate) fn gvk(&self) -> String {
        format!("{}, Kind={}", self.api_version(), self.kind)
    }

    /// Whether objects are kept in another version than the one this resource shows.
    pub(crate) fn converts(&self) -> bool {
        self.storage_version != self.api_version()
    }
}

/// `apps/v1`, or `v1` for the core group.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `deployments.apps`, or `pods`: the store's table for a resource.
pub(crate) fn table_name(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// All served resources, by group, version and plural name.
pub(crate) struct Registry {
    resources: BTreeMap<(String, String, String), Arc<Resource>>,
}

impl Registry {
    /// Builtin resources and those of the given CustomResourceDefinition objects.
    pub(crate) fn new<'a>(definitions: impl IntoIterator<Item = &'a Value>) -> Registry {
        let custom = definitions.into_iter().flat_map(custom::resources);
        let all = builtin::resources().into_iter().chain(custom);
        let keyed = all.map(|resource| {
            let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
            (key, Arc::new(resource))
        });
        Registry { resources: keyed.collect() }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// Some served version of a resource.
    pub(crate) fn any_version(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.values().find(|resource| resource.group == group && resource.plural == plural)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Groups in the order of discovery (core first), each with its versions, most preferred first.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for resource in self.resources.values() {
            let versions = groups.entry(resource.group.clone()).or_default();
            if !versions.contains(&resource.version) {
                versions.push(resource.version.clone());
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| version_priority(version));
        }
        groups
    }
}

/// Sort key that puts `v2` before `v1` before `v1beta2` before `v1alpha1` before anything else.
pub(crate) fn version_priority(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>, String) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let (rank, minor) = match tail {
            "" => (0, "0"),
            tail if tail.starts_with("beta") => (1, &tail[4..]),
            tail if tail.starts_with("alpha") => (2, &tail[5..]),
            _ => return None,
        };
        Some((rank, major, minor.parse().ok()?))
    });
    match parsed {
        Some((rank, major, minor)) => (rank, std::cmp::Reverse(major), std::cmp::Reverse(minor), String::new()),
        None => (3, std::cmp::Reverse(0), std::cmp::Reverse(0), version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_kubernetes_does() {
        let mut versions = ["foo", "v1alpha1", "v1", "v1beta2", "v2", "v1beta10", "v11"];
        versions.sort_by_key(|version| version_priority(version));
        assert_eq!(versions, ["v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn builtin_resources_are_found_with_their_parts() {
        let registry = Registry::new([]);
        let pods = registry.find("", "v1", "pods").unwrap();
        assert!(pods.has("exec") && pods.has("status") && pods.namespaced);
        assert_eq!(registry.find("apps", "v1", "deployments").unwrap().gvk(), "apps/v1, Kind=Deployment");
        assert!(
            registry.find("", "v1", "events").unwrap().table
                == registry.find("events.k8s.io", "v1", "events").unwrap().table
        );
    }
}
