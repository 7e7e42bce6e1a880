//! Resources that a CustomResourceDefinition declares. Pure: from the stored object to descriptions.
//! Assumes a definition that passed validation; what cannot be read is left out rather than failing the others.

use std::sync::Arc;

use serde_json::Value;

use super::{ALL_VERBS, PART_VERBS, Resource, ScalePaths, Subresource, group_version, table_name};
use crate::kinds;
use crate::schema::Structural;

/// What a custom resource has beyond a builtin one.
pub(crate) struct CustomResource {
    pub(crate) schema: Option<Structural>,
    /// The schema as written, for OpenAPI.
    pub(crate) raw_schema: Value,
    /// `additionalPrinterColumns` as written.
    pub(crate) columns: Value,
    /// `selectableFields` as JSON paths.
    pub(crate) selectable_fields: Vec<String>,
    pub(crate) has_status: bool,
    /// The warning for clients of a deprecated version.
    pub(crate) deprecation: Option<String>,
}

/// The resources of one definition, one per served version; none while it is not established.
pub(super) fn resources(definition: &Value) -> Vec<Resource> {
    if !is_established(definition) {
        return Vec::new();
    }
    let versions = definition["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(storage) = versions.iter().find(|version| version["storage"] == true) else { return Vec::new() };
    let group = text(&definition["spec"]["group"]);
    let storage_version = group_version(&group, storage["name"].as_str().unwrap_or_default());
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| resource(definition, version, &storage_version))
        .collect()
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn resource(definition: &Value, version: &Value, storage_version: &str) -> Resource {
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    let version_name = text(&version["name"]);
    let list_kind = names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned);
    Resource {
        table: table_name(&group, &plural),
        storage_version: storage_version.to_owned(),
        subresources: subresources(&group, &version_name, &kind, &version["subresources"]),
        scale: scale(&version["subresources"]["scale"]),
        singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        verbs: ALL_VERBS,
        behaviour: kinds::custom_behaviour(),
        custom: Some(Arc::new(custom(definition, version))),
        version: version_name,
        group,
        plural,
        kind,
        list_kind,
    }
}

fn custom(definition: &Value, version: &Value) -> CustomResource {
    let raw_schema = version["schema"]["openAPIV3Schema"].clone();
    CustomResource {
        schema: Structural::parse(&raw_schema).ok(),
        raw_schema,
        columns: version["additionalPrinterColumns"].clone(),
        selectable_fields: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| text(&field["jsonPath"]))
            .collect(),
        has_status: version["subresources"]["status"].is_object(),
        deprecation: deprecation(definition, version),
    }
}

fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let given = version["deprecationWarning"].as_str().map(str::to_owned);
    Some(given.unwrap_or_else(|| {
        let api = group_version(&text(&definition["spec"]["group"]), &text(&version["name"]));
        format!("{api} {} is deprecated", text(&definition["spec"]["names"]["kind"]))
    }))
}

fn subresources(group: &str, version: &str, kind: &str, declared: &Value) -> Vec<Subresource> {
    let part = |name: &str, group: &str, version: &str, kind: &str| Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: PART_VERBS,
    };
    let scale = declared["scale"].is_object().then(|| part("scale", "autoscaling", "v1", "Scale"));
    let status = declared["status"].is_object().then(|| part("status", group, version, kind));
    scale.into_iter().chain(status).collect()
}

fn scale(declared: &Value) -> Option<ScalePaths> {
    Some(ScalePaths {
        spec: declared["specReplicasPath"].as_str()?.to_owned(),
        status: declared["statusReplicasPath"].as_str()?.to_owned(),
        selector: declared["labelSelectorPath"].as_str().map(str::to_owned),
    })
}
