//! Discovery: which groups, versions and resources there are, in the classic and the aggregated form.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{ApiRequest, Reply, accept, json_response};
use crate::registry::{Registry, Resource, Subresource, group_version};
use crate::server::ApiServer;
use crate::status::ApiError;

/// `/api`.
pub(super) fn core_versions(server: &Arc<ApiServer>, request: &ApiRequest) -> Response<Body> {
    if let Some(version) = accept::aggregated_discovery(&request.headers) {
        return aggregated(&server.registry(), version, |group| group.is_empty());
    }
    let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": server.advertised_address()}]);
    let versions = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses});
    Reply::value(&versions).into_response()
}

/// `/apis`.
pub(super) fn groups(server: &Arc<ApiServer>, request: &ApiRequest) -> Response<Body> {
    let registry = server.registry();
    if let Some(version) = accept::aggregated_discovery(&request.headers) {
        return aggregated(&registry, version, |group| !group.is_empty());
    }
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| api_group(group, versions))
        .collect();
    Reply::value(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
}

/// `/apis/<group>`.
pub(super) fn group(server: &Arc<ApiServer>, group: &str) -> Result<Response<Body>, ApiError> {
    let groups = server.registry().groups();
    let versions = groups.get(group).filter(|_| !group.is_empty()).ok_or_else(ApiError::unknown_path)?;
    let mut answer = api_group(group, versions);
    answer["kind"] = json!("APIGroup");
    answer["apiVersion"] = json!("v1");
    Ok(Reply::value(&answer).into_response())
}

fn api_group(group: &str, versions: &[String]) -> Value {
    let shown = |version: &String| json!({"groupVersion": group_version(group, version), "version": version});
    let list: Vec<Value> = versions.iter().map(shown).collect();
    json!({"name": group, "versions": list, "preferredVersion": list.first()})
}

/// `/api/v1` and `/apis/<group>/<version>`.
pub(super) fn resources(server: &Arc<ApiServer>, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let registry = server.registry();
    let list: Vec<Value> = registry
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .flat_map(api_resources)
        .collect();
    if list.is_empty() {
        return Err(ApiError::unknown_path());
    }
    let answer = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": list,
    });
    Ok(Reply::value(&answer).into_response())
}

fn api_resources(resource: &Arc<Resource>) -> Vec<Value> {
    let mut main = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    for (key, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            main[key] = json!(names);
        }
    }
    let parts = resource.subresources.iter().map(|part| {
        let mut value = json!({
            "name": format!("{}/{}", resource.plural, part.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": part.kind, "verbs": part.verbs,
        });
        if (&part.group, &part.version) != (&resource.group, &resource.version) {
            value["group"] = json!(part.group);
            value["version"] = json!(part.version);
        }
        value
    });
    std::iter::once(main).chain(parts).collect()
}

fn aggregated(registry: &Registry, version: &str, wanted: impl Fn(&str) -> bool) -> Response<Body> {
    let items: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| aggregated_group(registry, group, versions))
        .collect();
    let answer = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    });
    let mut response = json_response(StatusCode::OK, Bytes::from(answer.to_string()));
    let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(value) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

fn aggregated_group(registry: &Registry, group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = registry
                .iter()
                .filter(|resource| resource.group == group && resource.version == *version)
                .map(|resource| aggregated_resource(resource))
                .collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let mut value = json!({
        "resource": resource.plural, "scope": scope, "singularResource": resource.singular, "verbs": resource.verbs,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
    });
    for (key, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            value[key] = json!(names);
        }
    }
    let part = |part: &Subresource| {
        json!({
            "subresource": part.name, "verbs": part.verbs,
            "responseKind": {"group": part.group, "version": part.version, "kind": part.kind},
        })
    };
    if !resource.subresources.is_empty() {
        value["subresources"] = resource.subresources.iter().map(part).collect();
    }
    value
}
