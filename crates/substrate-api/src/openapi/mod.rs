//! OpenAPI documents as kubectl reads them: v3 per group version with its index, and v2 as one JSON document.
//!
//! Built on request from the resources that the caller serves. Descriptions of built-in fields are Kubernetes' own.

mod operations;
mod schemas;
mod v2;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use v2::{V2_PROTOBUF, v2_document, v2_protobuf};

/// One served resource, as the documents need it.
#[derive(Debug, Clone, Default)]
pub struct ResourceInfo {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Kind of the list; `<kind>List` if empty.
    pub list_kind: String,
    /// Resource in plural.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs that are served.
    pub verbs: Vec<String>,
    /// The subresources that are served.
    pub subresources: Vec<SubresourceInfo>,
    /// `openAPIV3Schema` of a custom resource; `None` for a built-in kind.
    pub custom_schema: Option<Value>,
}

/// One served subresource.
#[derive(Debug, Clone, Default)]
pub struct SubresourceInfo {
    /// Name such as `status`, `scale`, `log`.
    pub name: String,
    /// API group of its kind.
    pub group: String,
    /// Version of its kind.
    pub version: String,
    /// Kind of its body.
    pub kind: String,
    /// The verbs that are served.
    pub verbs: Vec<String>,
}

impl ResourceInfo {
    /// `/api/v1` or `/apis/<group>/<version>`.
    fn root(&self) -> String {
        format!("/{}", path_of(&self.group, &self.version))
    }

    fn list_kind(&self) -> String {
        if self.list_kind.is_empty() { format!("{}List", self.kind) } else { self.list_kind.clone() }
    }
}

/// `api/v1` or `apis/<group>/<version>`: the key of a group version in the v3 index.
pub fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The index at `/openapi/v3`. `group_versions` are `(group, version, fingerprint)`; see [`fingerprint`].
pub fn v3_index(group_versions: &[(String, String, String)]) -> Value {
    let entry = |(group, version, hash): &(String, String, String)| {
        let path = path_of(group, version);
        let url = format!("/openapi/v3/{path}?hash={hash}");
        (path, json!({"serverRelativeURL": url}))
    };
    json!({"paths": group_versions.iter().map(entry).collect::<Map<String, Value>>()})
}

/// A hash that changes when the document of these resources would: clients keep a document as long as it does not.
pub fn fingerprint(resources: &[ResourceInfo]) -> String {
    let mut hash = Sha256::new();
    for resource in resources {
        let names: Vec<&str> = resource.subresources.iter().map(|subresource| subresource.name.as_str()).collect();
        hash.update(format!("{}/{}/{}/{names:?}/", resource.root(), resource.plural, resource.kind));
        hash.update(resource.custom_schema.as_ref().map(Value::to_string).unwrap_or_default());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The v3 document of one group version. `resources` are those of that group version; others are passed over.
pub fn v3_document(group: &str, version: &str, resources: &[ResourceInfo]) -> Value {
    let mut paths = Map::new();
    for resource in resources.iter().filter(|resource| resource.group == group && resource.version == version) {
        operations::add_paths(resource, &mut paths);
    }
    paths.sort_keys();
    let mut schemas = schemas::definitions(group, version, resources);
    schemas.sort_keys();
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerToken": {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"},
            },
        },
    })
}

#[cfg(test)]
mod tests;
