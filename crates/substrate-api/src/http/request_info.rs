//! What a request is about, from its method and path: Kubernetes' RequestInfo. Pure.

use http::Method;

use super::query::{Query, decode};

/// The resource part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

/// Verb and target of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Kubernetes' verb for resources (`get`, `list`, ...); the HTTP method in lower case for other paths.
    pub(crate) verb: String,
    pub(crate) path: String,
    /// `None` for paths such as `/healthz` and for discovery.
    pub(crate) target: Option<ResourcePath>,
}

impl RequestInfo {
    pub(crate) fn new(method: &Method, path: &str, query: &Query) -> RequestInfo {
        let segments: Vec<String> =
            path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decode(segment, false)).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let target = match segments.as_slice() {
            ["api", "v1", rest @ ..] => resource_path("", "v1", rest),
            ["apis", group, version, rest @ ..] => resource_path(group, version, rest),
            _ => None,
        };
        let Some(mut target) = target else {
            return RequestInfo { verb: method.as_str().to_lowercase(), path: path.to_owned(), target: None };
        };
        let verb = verb(method, &target, query).to_owned();
        if matches!(verb.as_str(), "list" | "watch" | "deletecollection") && target.name.is_empty() {
            target.name = named_by_selector(query).unwrap_or_default();
        }
        RequestInfo { verb, path: path.to_owned(), target: Some(target) }
    }
}

fn resource_path(group: &str, version: &str, rest: &[&str]) -> Option<ResourcePath> {
    let path = |namespace: &str, resource: &str, name: &str, subresource: &[&str]| ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: subresource.join("/"),
    };
    let core = group.is_empty();
    match rest {
        [] => None,
        ["namespaces", name] if core => Some(path(name, "namespaces", name, &[])),
        ["namespaces", name, part @ ("status" | "finalize")] if core => Some(path(name, "namespaces", name, &[part])),
        ["namespaces", namespace, resource] => Some(path(namespace, resource, "", &[])),
        ["namespaces", namespace, resource, name, part @ ..] => Some(path(namespace, resource, name, part)),
        [resource] => Some(path("", resource, "", &[])),
        [resource, name, part @ ..] => Some(path("", resource, name, part)),
    }
}

fn verb<'a>(method: &Method, target: &ResourcePath, query: &Query) -> &'a str {
    let one = !target.name.is_empty();
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ if query.flag("watch") && target.subresource.is_empty() => "watch",
        _ if one => "get",
        _ => "list",
    }
}

/// A list of exactly one name counts as a request for that name, so that roles limited to names allow it.
fn named_by_selector(query: &Query) -> Option<String> {
    let selector = query.get("fieldSelector")?;
    let name = selector.split(',').find_map(|part| part.strip_prefix("metadata.name="))?;
    Some(name.trim_start_matches('=').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &Method, path: &str, query: &str) -> RequestInfo {
        RequestInfo::new(method, path, &Query::parse(query))
    }

    fn shown(method: &Method, path: &str, query: &str) -> String {
        let info = info(method, path, query);
        let Some(target) = info.target else { return format!("{} {}", info.verb, info.path) };
        format!(
            "{} {}|{}|{}|{}|{}|{}",
            info.verb, target.group, target.version, target.namespace, target.resource, target.name, target.subresource
        )
    }

    #[test]
    fn paths_become_verbs_and_targets() {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        assert_eq!(shown(&get, "/api/v1/pods", ""), "list |v1||pods||");
        assert_eq!(shown(&get, "/api/v1/namespaces/a/pods", "watch=true"), "watch |v1|a|pods||");
        assert_eq!(shown(&get, "/api/v1/namespaces/a/pods/p/log", ""), "get |v1|a|pods|p|log");
        assert_eq!(shown(&get, "/api/v1/namespaces/a", ""), "get |v1|a|namespaces|a|");
        assert_eq!(shown(&post, "/apis/apps/v1/namespaces/a/deployments", ""), "create apps|v1|a|deployments||");
        assert_eq!(
            shown(&delete, "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Ax", ""),
            "delete rbac.authorization.k8s.io|v1||clusterroles|system:x|"
        );
        assert_eq!(shown(&get, "/apis/apps/v1", ""), "get /apis/apps/v1");
        assert_eq!(shown(&get, "/healthz", ""), "get /healthz");
        assert_eq!(shown(&get, "/api/v1/pods", "fieldSelector=metadata.name%3Dx"), "list |v1||pods|x|");
    }
}
