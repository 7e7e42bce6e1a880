//! OpenAPI documents over HTTP, made when first asked for and kept until a CustomResourceDefinition changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use super::{accept, json_response};
use crate::openapi::{self, ResourceInfo, SubresourceInfo};
use crate::registry::{Registry, Resource};
use crate::server::ApiServer;
use crate::status::ApiError;

/// Documents by path, for one state of the registry.
#[derive(Default)]
pub(crate) struct OpenApiCache(Mutex<Option<Documents>>);

struct Documents {
    registry: Arc<Registry>,
    by_path: HashMap<String, Bytes>,
}

impl OpenApiCache {
    fn get(&self, registry: &Arc<Registry>, path: &str, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = match &mut *cached {
            Some(documents) if Arc::ptr_eq(&documents.registry, registry) => documents,
            stale => stale.insert(Documents { registry: Arc::clone(registry), by_path: HashMap::new() }),
        };
        documents.by_path.entry(path.to_owned()).or_insert_with(make).clone()
    }
}

/// `/openapi/v2`, as JSON unless only protobuf is accepted.
pub(super) fn v2(server: &Arc<ApiServer>, headers: &HeaderMap) -> Response<Body> {
    if accept::wants_protobuf(headers) {
        let mut response = Response::new(Body::from(openapi::v2_protobuf()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openapi::V2_PROTOBUF));
        return response;
    }
    let registry = server.registry();
    let make = || Bytes::from(openapi::v2_document(&infos(&registry, |_| true)).to_string());
    json_response(StatusCode::OK, server.openapi.get(&registry, "v2", make))
}

/// `/openapi/v3`.
pub(super) fn v3_index(server: &Arc<ApiServer>) -> Response<Body> {
    let registry = server.registry();
    let make = || {
        let versions: Vec<(String, String, String)> = registry
            .groups()
            .into_iter()
            .flat_map(|(group, versions)| versions.into_iter().map(move |version| (group.clone(), version)))
            .map(|(group, version)| {
                let resources = infos(&registry, |resource| resource.group == group && resource.version == version);
                let fingerprint = openapi::fingerprint(&resources);
                (group, version, fingerprint)
            })
            .collect();
        Bytes::from(openapi::v3_index(&versions).to_string())
    };
    json_response(StatusCode::OK, server.openapi.get(&registry, "v3", make))
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/apps/v1` and so on.
pub(super) fn v3(server: &Arc<ApiServer>, path: &str) -> Result<Response<Body>, ApiError> {
    let registry = server.registry();
    let known = registry.iter().find(|resource| openapi::path_of(&resource.group, &resource.version) == path);
    let resource = known.ok_or_else(ApiError::unknown_path)?;
    let (group, version) = (&resource.group, &resource.version);
    let make = || {
        let resources = infos(&registry, |resource| resource.group == *group && resource.version == *version);
        Bytes::from(openapi::v3_document(group, version, &resources).to_string())
    };
    Ok(json_response(StatusCode::OK, server.openapi.get(&registry, path, make)))
}

fn infos(registry: &Registry, wanted: impl Fn(&Resource) -> bool) -> Vec<ResourceInfo> {
    registry.iter().filter(|resource| wanted(resource)).map(|resource| info(resource)).collect()
}

fn owned(verbs: &[&str]) -> Vec<String> {
    verbs.iter().map(|verb| (*verb).to_owned()).collect()
}

fn info(resource: &Resource) -> ResourceInfo {
    let subresources = resource.subresources.iter().map(|part| SubresourceInfo {
        name: part.name.clone(),
        group: part.group.clone(),
        version: part.version.clone(),
        kind: part.kind.clone(),
        verbs: owned(part.verbs),
    });
    ResourceInfo {
        group: resource.group.clone(),
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        list_kind: resource.list_kind.clone(),
        plural: resource.plural.clone(),
        namespaced: resource.namespaced,
        verbs: owned(resource.verbs),
        subresources: subresources.collect(),
        custom_schema: resource.custom.as_ref().map(|custom| custom.raw_schema.clone()),
    }
}
